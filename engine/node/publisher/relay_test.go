package publisher_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/node"
	"github.com/floefs/floe/engine/node/publisher"
	"github.com/floefs/floe/engine/walrus"
)

// relay starts a relay before a committee whose members 0, 3 and 6 sign.
func relay(t *testing.T, d *daemon) (*daemon, *publisher.Relay) {
	t.Helper()
	for range 3 {
		d.keys = append(d.keys, walrus.GenerateKey())
	}
	start(t, d)
	r, err := publisher.NewRelay(network(t), d.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.Hurry()
	return d, r
}

// The certificate that comes back is one that the committee's members verify.
func TestARelayReturnsCertificates(t *testing.T) {
	for _, tip := range []string{"", `"no_tip"`} {
		d, r := relay(t, &daemon{tip: tip, fails: []int{503, 504}})
		var members []walrus.Member
		for i := range 7 {
			m := walrus.Member{Key: walrus.GenerateKey().Public()}
			if m.Weight = 1; i%3 == 0 {
				m.Key, m.Weight = d.keys[i/3].Public(), 3
			}
			members = append(members, m)
		}
		committee, err := walrus.NewCommittee(21, members) // 13 shards, of which 9 sign
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			b := encode(t, uint64(i), 5003)
			if err := r.Put(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			c := r.Certificates()[i]
			if c.Blob != b.ID || c.Epoch != 21 {
				t.Errorf("the certificate is of blob %s, epoch %d", c.Blob, c.Epoch)
			}
			if _, signers, err := committee.VerifyStored(c.Certificate, b.ID); err != nil || len(signers) != 3 {
				t.Errorf("signers %v, error %v", signers, err)
			}
		}
		asked := d.requests()
		if n := len(asked); n != 2+1+2 || asked[0] != "GET /v1/tip-config" || !strings.HasPrefix(asked[n-1], "POST /v1/blob-upload-relay?blob_id=") {
			t.Errorf("asked %q", asked)
		}
	}
}

func TestATipIsNotPaid(t *testing.T) {
	for _, tip := range []string{
		`{"send_tip":{"address":"0x02a212de6a9dfa3a69e22387acfbafbb1a9e591bd9d636e7895dcfc8de0","kind":{"const":31415}}}`,
		`{"send_tip":{"address":"0x02","kind":{"linear":{"base":101,"encoded_size_mul_per_kib":42}}}}`, `"some_tip"`, `null`,
	} {
		d, r := relay(t, &daemon{tip: tip})
		if err := r.Put(t.Context(), encode(t, 1, 5003)); !errors.Is(err, publisher.ErrTip) {
			t.Errorf("%s: got error %v", tip, err)
		}
		if d.read > 0 {
			t.Errorf("%s: %d bytes were sent", tip, d.read)
		}
	}
}

func TestFalseCertificatesAreRefused(t *testing.T) {
	b, other := encode(t, 1, 5003), encode(t, 2, 5003)
	var d *daemon
	for name, alter := range map[string]func(string) string{
		"nothing":         func(string) string { return "" },
		"an empty object": func(string) string { return "{}" },
		"of another blob": func(s string) string { return strings.Replace(s, b.ID.String(), other.ID.String(), 1) },
		"signed of another": func(s string) string {
			return strings.Replace(d.certify(other.ID), other.ID.String(), b.ID.String(), 1)
		},
		"signed by nobody": func(s string) string { return strings.Replace(s, `[0,3,6]`, `[]`, 1) },
		"by a member 1000": func(s string) string { return strings.Replace(s, `[0,3,6]`, `[0,1000]`, 1) },
		"by a member -1":   func(s string) string { return strings.Replace(s, `[0,3,6]`, `[-1]`, 1) },
		"no message": func(s string) string {
			return strings.Replace(s, `"serialized_message":[1,`, `"serialized_message":[`, 1)
		},
		"no number": func(s string) string {
			return strings.Replace(s, `"serialized_message":[1,`, `"serialized_message":[256,`, 1)
		},
		"no signature": func(s string) string { return strings.Replace(s, `"signature":"`, `"signature":"A`, 1) },
	} {
		var r *publisher.Relay
		d, r = relay(t, &daemon{alter: alter})
		if err := r.Put(t.Context(), b); !errors.Is(err, node.ErrProtocol) {
			t.Errorf("%s: got error %v", name, err)
		}
		if len(r.Certificates()) > 0 {
			t.Errorf("%s: it was kept", name)
		}
	}
	// What is signed of an object can be deleted with it.
	object := walrus.ObjectID{1}
	d, r := relay(t, &daemon{})
	d.alter = func(s string) string {
		m := walrus.StoredMessage{Epoch: 21, Blob: b.ID, Object: &object}
		from, to := strings.Index(s, `"serialized_message":`), strings.Index(s, `,"signature"`)
		return s[:from] + `"serialized_message":` + list(m.Bytes()) + s[to:]
	}
	if err := r.Put(t.Context(), b); !errors.Is(err, node.ErrProtocol) || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("of a deletable blob: got error %v", err)
	}
}
