package publisher

import (
	"encoding/json"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

// The examples of the documentation of Walrus' HTTP API.
const (
	newlyCreated     = `{"newlyCreated":{"blobObject":{"id":"0xe91eee8c5b6f35b9a250cfc29e30f0d9e5463a21fd8d1ddb0fc22d44db4eac50","registeredEpoch":34,"blobId":"M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk","size":17,"encodingType":"RS2","certifiedEpoch":34,"storage":{"id":"0x4748cd83217b5ce7aa77e7f1ad6fc5f7f694e26a157381b9391ac65c47815faf","startEpoch":34,"endEpoch":35,"storageSize":66034000},"deletable":false},"resourceOperation":{"registerFromScratch":{"encodedLength":66034000,"epochsAhead":1}},"cost":132300}}`
	alreadyCertified = `{"alreadyCertified":{"blobId":"M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk","event":{"txDigest":"4XQHFa9S324wTzYHF3vsBSwpUZuLpmwTHYMFv9nsttSs","eventSeq":"0"},"endEpoch":35}}`
)

func TestTheDocumentedAnswersAreRead(t *testing.T) {
	want, err := walrus.ParseBlobID("M4hsZGQ1oCktdzegB6HnI6Mi28S2nqOPHxK-W7_4BUk")
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{newlyCreated, alreadyCertified} {
		if got, err := parseStored([]byte(answer)); err != nil || got != (stored{want, 35}) {
			t.Errorf("%s: got %v, error %v", answer, got, err)
		}
	}
}

func FuzzStored(f *testing.F) {
	for _, seed := range []string{newlyCreated, alreadyCertified, `{}`, `{"newlyCreated":{}}`, `null`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := parseStored(body); err == nil && (s.id == walrus.BlobID{} || s.end == 0) {
			t.Errorf("%v of %q", s, body)
		}
	})
}

func FuzzTip(f *testing.F) {
	for _, seed := range []string{`"no_tip"`, `{"send_tip":{"address":"0x02","kind":{"const":1}}}`, `{}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var s string
		if parseTip(body) == nil && (json.Unmarshal(body, &s) != nil || s != "no_tip") {
			t.Errorf("%q asks for no tip", body)
		}
	})
}

func FuzzCertified(f *testing.F) {
	id := walrus.BlobID{1}
	message, _ := json.Marshal(bytesOf(walrus.StoredMessage{Epoch: 1, Blob: id}.Bytes()))
	seed := `{"blob_id":"` + id.String() + `","confirmation_certificate":{"signers":[0,9,999],"serialized_message":` + string(message) + `,"signature":"` + walrus.Signature{}.String() + `"}}`
	if _, err := parseCertified([]byte(seed), id); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(seed))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseCertified(body, id)
		if err != nil {
			return
		}
		m, err := walrus.ParseStoredMessage(c.Certificate.Message)
		if err != nil || m.Blob != id || m.Object != nil || m.Epoch != c.Epoch || len(c.Certificate.Signers) > walrus.MaxShards/8 {
			t.Errorf("%+v of %q: %v", c, body, err)
		}
		if _, err := walrus.ParseCertificate(c.Certificate.Append(nil)); err != nil {
			t.Errorf("%+v of %q: %v", c, body, err)
		}
	})
}

func bytesOf(b []byte) []int {
	var all []int
	for _, c := range b {
		all = append(all, int(c))
	}
	return all
}
