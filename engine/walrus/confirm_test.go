package walrus

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What the official packages sign and verify.
type confirmationVector struct {
	Epoch     Epoch
	Blob      string   `json:"blob_id_hex"`
	Object    string   `json:"object_id_hex"`
	Secrets   []string `json:"secret_keys_hex"`
	Publics   []string `json:"public_keys_hex"`
	Permanent signedVector
	Deletable signedVector
	Invalid   signedVector `json:"invalid_blob_id"`
}

type signedVector struct {
	Message    string   `json:"message_hex"`
	Base64     string   `json:"message_base64"`
	Signatures []string `json:"signatures_hex"`
	Aggregate  string   `json:"aggregate_signature_hex"`
}

func TestOfficialConfirmations(t *testing.T) {
	for _, v := range mustVectors(t).Confirmations {
		blob := BlobID(mustHex(t, v.Blob))
		object, err := ParseObjectID("0x" + v.Object)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "object", object.String(), "0x"+v.Object)
		var keys []*PrivateKey
		var members []Member
		for i, secret := range v.Secrets {
			k, err := ParsePrivateKey(keyFile(flagBLS12381, mustHex(t, secret)))
			if err != nil {
				t.Fatal(err)
			}
			public := k.Public()
			equal(t, "public key", hex.EncodeToString(public[:]), v.Publics[i])
			keys, members = append(keys, k), append(members, Member{public, 1})
		}
		committee, err := NewCommittee(v.Epoch, members)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			signed  signedVector
			message []byte
			verify  func(*Certificate) ([]int, error)
		}{
			{v.Permanent, StoredMessage{v.Epoch, blob, nil}.Bytes(), func(c *Certificate) ([]int, error) {
				m, signers, err := committee.VerifyStored(c, blob)
				equal(t, "object", m.Object, nil)
				return signers, err
			}},
			{v.Deletable, StoredMessage{v.Epoch, blob, &object}.Bytes(), func(c *Certificate) ([]int, error) {
				m, signers, err := committee.VerifyStored(c, blob)
				equal(t, "object", *m.Object, object)
				return signers, err
			}},
			{v.Invalid, InvalidMessage{v.Epoch, blob}.Bytes(), func(c *Certificate) ([]int, error) {
				return committee.VerifyInvalid(c, blob)
			}},
		} {
			equal(t, "message", hex.EncodeToString(x.message), x.signed.Message)
			signatures := map[int]Signature{}
			for i, k := range keys {
				s := k.SignMessage(x.message)
				equal(t, "signature", hex.EncodeToString(s.Signature[:]), x.signed.Signatures[i])
				if err := k.Public().Verify(x.message, s.Signature); err != nil {
					t.Error(err)
				}
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "JSON", string(text), fmt.Sprintf(`{"serializedMessage":%q,"signature":%q}`,
					x.signed.Base64, base64.StdEncoding.EncodeToString(mustHex(t, x.signed.Signatures[i]))))
				var back SignedMessage
				if err := json.Unmarshal(text, &back); err != nil || back.Signature != s.Signature || !bytes.Equal(back.Message, s.Message) {
					t.Errorf("from JSON: %v, %v", back, err)
				}
				signatures[i] = s.Signature
			}
			cert, err := committee.Certify(x.message, signatures)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "aggregate", hex.EncodeToString(cert.Signature[:]), x.signed.Aggregate)
			if cert, err = ParseCertificate(cert.Append(nil)); err != nil {
				t.Fatal(err)
			}
			if err := VerifyAggregate(publics(members), x.message, cert.Signature); err != nil {
				t.Error(err)
			}
			if err := VerifyAggregate(publics(members[1:]), x.message, cert.Signature); !errors.Is(err, ErrSignature) {
				t.Errorf("without one signer: %v", err)
			}
			signers, err := x.verify(cert)
			if err != nil || !slices.Equal(signers, upTo(len(keys))) {
				t.Errorf("signed by %v, %v", signers, err)
			}
		}
	}
}

func publics(members []Member) []PublicKey {
	var keys []PublicKey
	for _, m := range members {
		keys = append(keys, m.Key)
	}
	return keys
}

func TestMessagesAreLaidOutAsSpecified(t *testing.T) {
	var blob BlobID
	var object ObjectID
	for i := range blob {
		blob[i], object[i] = byte(i), byte(0x40+i)
	}
	key := mustKeys(t)[0].Public()
	id, address := hex.EncodeToString(blob[:]), hex.EncodeToString(object[:])
	equal(t, "possession", hex.EncodeToString(PossessionMessage{7, object, key}.Bytes()),
		"000003"+"07000000"+address+hex.EncodeToString(key[:]))
	equal(t, "sync", hex.EncodeToString(SyncShardMessage{0x01020304, 258, Secondary, blob, 3, 9}.Bytes()),
		"030003"+"04030201"+"00"+"0201"+"01"+id+"0300000000000000"+"09000000")
	signed := SignedMessage{Message: []byte("hello")}
	signed.Signature[95] = 7
	equal(t, "signed", hex.EncodeToString(signed.Append(nil)), "05"+hex.EncodeToString([]byte("hello"))+strings.Repeat("00", 95)+"07")
}

var fixedKeys = sync.OnceValue(func() []*PrivateKey {
	var keys []*PrivateKey
	for i := range 6 {
		k, err := ParsePrivateKey(keyFile(flagBLS12381, append(make([]byte, 31), byte(i+2))))
		if err != nil {
			panic(err)
		}
		keys = append(keys, k)
	}
	return keys
})

// mustKeys returns six keys, the same every time.
func mustKeys(testing.TB) []*PrivateKey { return fixedKeys() }

func TestCertificatesNeedAQuorumOfWeight(t *testing.T) {
	// 13 shards: f = 4. 9 certify a blob, 5 call it invalid.
	weights := []int{5, 3, 2, 2, 1, 0}
	keys := mustKeys(t)
	var members []Member
	for i, w := range weights {
		members = append(members, Member{keys[i].Public(), w})
	}
	c, err := NewCommittee(21, members)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "quorum", c.Quorum(), 9)
	equal(t, "validity", c.Validity(), 5)
	blob := BlobID{1}
	stored, invalid := StoredMessage{21, blob, nil}.Bytes(), InvalidMessage{21, blob}.Bytes()
	certify := func(message []byte, signers ...int) *Certificate {
		t.Helper()
		signatures := map[int]Signature{}
		for _, i := range signers {
			signatures[i] = keys[i].Sign(message)
		}
		cert, err := c.Certify(message, signatures)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	for _, x := range []struct {
		signers            []int
		certifies, condemn bool
	}{
		{[]int{0, 1, 4}, true, true}, {[]int{0, 1}, false, true}, {[]int{1, 2, 3, 4, 5}, false, true},
		{[]int{0}, false, true}, {[]int{2, 3}, false, false}, {[]int{5}, false, false}, {[]int{0, 1, 2, 3, 4, 5}, true, true},
	} {
		_, signers, err := c.VerifyStored(certify(stored, x.signers...), blob)
		if (err == nil) != x.certifies || err == nil && !slices.Equal(signers, x.signers) {
			t.Errorf("%v certify: %v, %v", x.signers, signers, err)
		}
		if signers, err = c.VerifyInvalid(certify(invalid, x.signers...), blob); (err == nil) != x.condemn {
			t.Errorf("%v call invalid: %v, %v", x.signers, signers, err)
		}
	}

	good := certify(stored, 0, 1, 4)
	equal(t, "bitmap", hex.EncodeToString(good.Signers), "13")
	for name, alter := range map[string]func(*Certificate){
		"message":            func(x *Certificate) { x.Message[40-1] = 2 },
		"another epoch":      func(x *Certificate) { x.Message[3] = 22 },
		"another blob":       func(x *Certificate) { x.Message[7] = 2 },
		"another type":       func(x *Certificate) { x.Message = invalid },
		"another signer":     func(x *Certificate) { x.Signers[0] = 0x17 },
		"a signer less":      func(x *Certificate) { x.Signers[0] = 0x03 },
		"no signer":          func(x *Certificate) { x.Signers = nil },
		"nobody's bit":       func(x *Certificate) { x.Signers[0] |= 0x40 },
		"a longer bitmap":    func(x *Certificate) { x.Signers = append(x.Signers, 0) },
		"signature":          func(x *Certificate) { x.Signature = keys[0].Sign(stored) },
		"no signature":       func(x *Certificate) { x.Signature = Signature{} },
		"neutral signature":  func(x *Certificate) { x.Signature = Signature{0xC0} },
		"bits of signature":  func(x *Certificate) { x.Signature[95] ^= 1 },
		"other sign":         func(x *Certificate) { x.Signature[0] ^= 0x20 },
		"signature of other": func(x *Certificate) { x.Signature = certify(invalid, 0, 1, 4).Signature },
	} {
		bad := &Certificate{slices.Clone(good.Message), slices.Clone(good.Signers), good.Signature}
		alter(bad)
		if _, _, err := c.VerifyStored(bad, blob); err == nil {
			t.Errorf("%s altered, yet accepted", name)
		}
	}
	if _, _, err := c.VerifyStored(good, BlobID{2}); err == nil {
		t.Error("accepted for another blob")
	}
}

func TestWhoSignsFalselyIsNamed(t *testing.T) {
	keys := mustKeys(t)
	var members []Member
	signatures := map[int]Signature{}
	message := StoredMessage{1, BlobID{}, nil}.Bytes()
	for i, k := range keys {
		members = append(members, Member{k.Public(), 2})
		signatures[i] = k.Sign(message)
	}
	c, err := NewCommittee(1, members)
	if err != nil {
		t.Fatal(err)
	}
	signatures[1], signatures[4] = keys[1].Sign([]byte("another")), Signature{}
	var wrong *SignerError
	if _, err := c.Certify(message, signatures); !errors.As(err, &wrong) || !slices.Equal(wrong.Members, []int{1, 4}) || !errors.Is(err, ErrSignature) {
		t.Errorf("got %v", err)
	}
	// Two wrong ones that cancel out in the sum are no reason to refuse it.
	signatures[1], signatures[4] = keys[4].Sign(message), keys[1].Sign(message)
	if _, err := c.Certify(message, signatures); err != nil {
		t.Error(err)
	}
	for _, signatures := range []map[int]Signature{nil, {6: signatures[0]}, {-1: signatures[0]}} {
		if _, err := c.Certify(message, signatures); err == nil {
			t.Errorf("certified by %v", slices.Collect(maps.Keys(signatures)))
		}
	}
}

func TestCommitteesHaveValidKeysAndWeights(t *testing.T) {
	k := mustKeys(t)[0].Public()
	for name, members := range map[string][]Member{
		"nobody":      nil,
		"3 shards":    {{k, 3}},
		"1001 shards": {{k, 1000}, {k, 1}},
		"negative":    {{k, 10}, {k, -1}},
		"no point":    {{PublicKey{1}, 10}},
		"neutral key": {{PublicKey{0xC0}, 10}},
	} {
		if _, err := NewCommittee(1, members); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A member without a key has its weight, and nobody can sign for it.
func TestAMemberWithoutAKeySignsNothing(t *testing.T) {
	keys := mustKeys(t)
	c, err := NewCommittee(1, []Member{{keys[0].Public(), 3}, {PublicKey{}, 2}, {keys[1].Public(), 2}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "shards", c.Shards(), 7)
	equal(t, "quorum", c.Quorum(), 5)
	message := StoredMessage{1, BlobID{1}, nil}.Bytes()
	cert, err := c.Certify(message, map[int]Signature{0: keys[0].Sign(message), 2: keys[1].Sign(message)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.VerifyStored(cert, BlobID{1}); err != nil {
		t.Error(err)
	}
	cert.Signers[0] |= 2 // its key would be the neutral element, which changes no sum
	if _, _, err := c.VerifyStored(cert, BlobID{1}); err == nil {
		t.Error("accepted as signed by the member without a key")
	}
	if _, err := c.Certify(message, map[int]Signature{1: keys[2].Sign(message)}); err == nil {
		t.Error("certified by the member without a key")
	}
}

// The proof of possession keeps a node from choosing a key that cancels those
// of others.
func TestPossessionIsOfOnesOwnKey(t *testing.T) {
	keys := mustKeys(t)
	a, b := keys[0], keys[1]
	if err := a.Public().VerifyPossession(a.Possession()); err != nil {
		t.Error(err)
	}
	if err := a.Public().VerifyPossession(b.Possession()); !errors.Is(err, ErrSignature) {
		t.Errorf("another's: %v", err)
	}
	// a publishes the sum of its key and the negative of b's, and signs alone
	// for both.
	minus, err := b.Public().point()
	if err != nil {
		t.Fatal(err)
	}
	minus.Neg()
	sum, err := a.Public().point()
	if err != nil {
		t.Fatal(err)
	}
	sum.Add(sum, minus)
	rogue, err := ParsePublicKey(sum.BytesCompressed())
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("b has never seen this")
	if err := VerifyAggregate([]PublicKey{rogue, b.Public()}, message, a.Sign(message)); err != nil {
		t.Fatalf("the attack does not work: %v", err)
	}
	for _, k := range []*PrivateKey{a, b} {
		if err := rogue.VerifyPossession(k.Possession()); err == nil {
			t.Error("possession of a key whose secret nobody has")
		}
		if err := rogue.VerifyPossession(k.Sign(PossessionMessage{Key: rogue}.Bytes())); err == nil {
			t.Error("signed with another key, and yet possession of the rogue one")
		}
	}
}

func TestKeyFiles(t *testing.T) {
	// From the tests of Walrus' own keys.
	const file = "BBlm7tRefoPuaKoVoxVtnUBBDCfy+BGPREM8B6oSkOEj"
	k, err := ParsePrivateKey(file + "\n")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "file", k.File(), file)
	equal(t, "secret", k.File(), keyFile(flagBLS12381, mustHex(t, "1966eed45e7e83ee68aa15a3156d9d40410c27f2f8118f44433c07aa1290e123")))
	if s := fmt.Sprintf("%v %s %+v", k, k, k); strings.Contains(s, "BBlm7") || !strings.Contains(s, k.Public().String()) {
		t.Errorf("printed as %s", s)
	}
	fresh, other := GenerateKey(), GenerateKey()
	if fresh.Public() == other.Public() {
		t.Error("two keys are the same")
	}
	back, err := ParsePrivateKey(fresh.File())
	if err != nil || back.Public() != fresh.Public() {
		t.Errorf("got %v, %v", back, err)
	}
	if err := other.Public().Verify([]byte("x"), fresh.Sign([]byte("x"))); !errors.Is(err, ErrSignature) {
		t.Errorf("another's signature: %v", err)
	}

	network, err := GenerateNetworkKey()
	if err != nil {
		t.Fatal(err)
	}
	networkFile, err := NetworkKeyFile(network)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseNetworkKey(networkFile); err != nil || !again.Equal(network) {
		t.Errorf("network key: %v", err)
	}
	order := "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"
	for name, bad := range map[string]string{
		"empty": "", "another kind": networkFile, "no base64": file[:43] + "!", "cut off": file[:40],
		"longer": file[:43] + "jAA==", "zero": keyFile(flagBLS12381, make([]byte, 32)),
		"the order": keyFile(flagBLS12381, mustHex(t, order)), "line break": file[:20] + "\n" + file[20:],
	} {
		if k, err := ParsePrivateKey(bad); err == nil {
			t.Errorf("%s: %v", name, k)
		} else if bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the error shows the file", name)
		}
	}
	for _, bad := range []string{file, "", keyFile(flagSecp256r1, make([]byte, 32)), keyFile(flagSecp256r1, bytes.Repeat([]byte{255}, 32))} {
		if _, err := ParseNetworkKey(bad); err == nil {
			t.Errorf("%q is a network key", bad)
		}
	}
}

func TestNetworkPublicKeysAreCompressed(t *testing.T) {
	// The generator of P-256 and its negative: secrets 1 and order-1.
	const x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
	for secret, want := range map[string]string{
		"0000000000000000000000000000000000000000000000000000000000000001": "03" + x,
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550": "02" + x,
	} {
		k, err := ParseNetworkKey(keyFile(flagSecp256r1, mustHex(t, secret)))
		if err != nil {
			t.Fatal(err)
		}
		public, err := NewNetworkPublicKey(&k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "public key", hex.EncodeToString(public[:]), want)
	}
	equal(t, "name", NetworkPublicKey{3, 0x0B, 0xD1, 0}.ServerName(), "3bd10.network.walrus.alt")
}

func TestPublicKeysAreOnTheCurve(t *testing.T) {
	good := mustKeys(t)[0].Public()
	if k, err := ParsePublicKey(good[:]); err != nil || k != good {
		t.Fatalf("got %v, %v", k, err)
	}
	offCurve, notReduced := good, PublicKey{0x9F}
	offCurve[47] ^= 1
	for i := range notReduced[1:] {
		notReduced[1+i] = 0xFF
	}
	// Of the curve, but not of the subgroup: x = 4.
	outside := PublicKey{0x80}
	outside[47] = 4
	for name, bad := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, 48), "neutral": append([]byte{0xC0}, make([]byte, 47)...), "off the curve": offCurve[:],
		"not reduced": notReduced[:], "outside": outside[:], "short": good[:47], "long": append(good[:], 0), "uncompressed": make([]byte, 96),
	} {
		if k, err := ParsePublicKey(bad); err == nil {
			t.Errorf("%s: %v", name, k)
		}
	}
	var back PublicKey
	text, err := good.MarshalText()
	if err == nil {
		err = back.UnmarshalText(text)
	}
	if err != nil || back != good {
		t.Errorf("as text and back: %v, %v", back, err)
	}
	if err := back.UnmarshalText([]byte("wAAA")); err == nil {
		t.Error("3 bytes accepted")
	}
	if err := (PublicKey{}).Verify(nil, Signature{}); err == nil {
		t.Error("zeros verify")
	}
}

func TestObjectIDsHaveAllDigits(t *testing.T) {
	for _, bad := range []string{"", "0x", "0x5", strings.Repeat("0", 66), "0X" + strings.Repeat("0", 64), "0x" + strings.Repeat("g", 64)} {
		if id, err := ParseObjectID(bad); err == nil {
			t.Errorf("%q parsed as %s", bad, id)
		}
	}
}

func FuzzParseMessages(f *testing.F) {
	k := PublicKey{1}
	f.Add(StoredMessage{21, BlobID{7}, nil}.Bytes())
	f.Add(StoredMessage{21, BlobID{7}, &ObjectID{3}}.Bytes())
	f.Add(InvalidMessage{1, BlobID{7}}.Bytes())
	f.Add(PossessionMessage{1, ObjectID{9}, k}.Bytes())
	f.Add(SyncShardMessage{1, 2, Secondary, BlobID{7}, 100, 3}.Bytes())
	f.Add(SignedMessage{Message: InvalidMessage{1, BlobID{7}}.Bytes()}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(again []byte, err error) {
			if err == nil && !bytes.Equal(again, b) {
				t.Fatalf("%x parsed, but is written as %x", b, again)
			}
		}
		stored, err := ParseStoredMessage(b)
		check(stored.Bytes(), err)
		invalid, err := ParseInvalidMessage(b)
		check(invalid.Bytes(), err)
		possession, err := ParsePossessionMessage(b)
		check(possession.Bytes(), err)
		sync, err := ParseSyncShardMessage(b)
		check(sync.Bytes(), err)
		signed, err := ParseSignedMessage(b)
		check(signed.Append(nil), err)
	})
}

func FuzzParseCertificate(f *testing.F) {
	keys := mustKeys(f)
	var members []Member
	signatures := map[int]Signature{}
	message := StoredMessage{1, BlobID{7}, nil}.Bytes()
	for i, k := range keys {
		members = append(members, Member{k.Public(), 1})
		signatures[i] = k.Sign(message)
	}
	c, err := NewCommittee(1, members)
	if err != nil {
		f.Fatal(err)
	}
	cert, err := c.Certify(message, signatures)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cert.Append(nil))
	f.Add([]byte{0, 0})
	f.Add([]byte{0xFF, 0xFF, 0x03, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ParseCertificate(b)
		if err != nil {
			return
		}
		if again := x.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
		// f = 1: three of the six signed the seed, which nobody else can.
		if _, _, err := c.VerifyStored(x, BlobID{7}); err == nil && !bytes.Equal(b, cert.Append(nil)) {
			t.Fatalf("%x accepted", b)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add("BBlm7tRefoPuaKoVoxVtnUBBDCfy+BGPREM8B6oSkOEj")
	f.Add(keyFile(flagSecp256r1, append(make([]byte, 31), 1)))
	f.Add(mustKeys(f)[0].Public().String())
	f.Add(mustKeys(f)[0].Sign(nil).String())
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParsePrivateKey(s); err == nil && k.File() != strings.TrimSpace(s) {
			t.Fatalf("%q is written as %q", s, k.File())
		}
		if k, err := ParseNetworkKey(s); err == nil {
			if again, err := NetworkKeyFile(k); err != nil || again != strings.TrimSpace(s) {
				t.Fatalf("%q is written as %q, %v", s, again, err)
			}
		}
		var public PublicKey
		if err := public.UnmarshalText([]byte(s)); err == nil && public.String() != s {
			t.Fatalf("%q is written as %q", s, public)
		}
		var signature Signature
		if err := signature.UnmarshalText([]byte(s)); err == nil && signature.String() != s {
			t.Fatalf("%q is written as %q", s, signature)
		}
	})
}
