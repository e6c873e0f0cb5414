package certificate

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

const epoch = 21

// A scene is a dataset, and a committee of 7 shards that has signed for it:
// f = 2, and 5 are a quorum.
type scene struct {
	id      walrus.BlobID
	table   [][]byte // bytes of the header blob, then of the lists
	blobs   []walrus.BlobID
	keys    []*walrus.PrivateKey
	members []walrus.Member
	by      *walrus.Committee
}

// newScene returns a dataset of so many blobs, the last of which is in its
// table twice, and a committee whose keys follow from seed.
func newScene(t testing.TB, blobs int, seed byte) *scene {
	t.Helper()
	s := &scene{}
	for i, weight := range []int{2, 1, 2, 2} {
		s.keys = append(s.keys, fixedKey(t, seed+byte(i)))
		s.members = append(s.members, walrus.Member{Key: s.keys[i].Public(), Weight: weight})
	}
	s.members[1].Key = walrus.PublicKey{} // a directory, say
	s.by = must(walrus.NewCommittee(epoch, s.members))(t)
	s.id, s.table = dataset(t, 7, blobs)
	s.blobs = must(Blobs(s.id, s.table))(t)
	return s
}

// dataset returns the id and the table of a dataset of so many blobs that there
// are not, but for those of its table.
func dataset(t testing.TB, n, blobs int) (walrus.BlobID, [][]byte) {
	t.Helper()
	h := catalog.Header{BlobSize: merkle.ChunkSize, Shards: n, Blobs: int64(blobs), Root: catalog.Entry{Type: catalog.Dir, Mode: 0o755}}
	var records []byte
	for i := range blobs {
		i = min(i, blobs-2) // the last but one again
		records = catalog.AppendRecord(records, catalog.BlobRecord{ID: [32]byte{byte(i), byte(i >> 8), 7}, Size: merkle.ChunkSize})
	}
	h.Lists = must(catalog.ListsFor(h.Blobs, h.BlobSize))(t)
	var lists [][]byte
	if h.Lists > 0 {
		var named []byte
		for i := range h.Lists {
			list := records[:h.ListSize(i)]
			records = records[len(list):]
			lists = append(lists, list)
			named = catalog.AppendRecord(named, catalog.BlobRecord{ID: blobID(t, n, list), Size: int64(len(list))})
		}
		records = named
	}
	header := append(must(catalog.AppendHeader(nil, h))(t), records...)
	return blobID(t, n, header), append([][]byte{header}, lists...)
}

func blobID(t testing.TB, n int, data []byte) walrus.BlobID {
	t.Helper()
	return must(must(walrus.NewEncoder(n))(t).Encode(t.Context(), data, 0))(t).ID
}

// fixedKey returns a key that is the same every time.
func fixedKey(t testing.TB, seed byte) *walrus.PrivateKey {
	secret := append(append([]byte{4}, make([]byte, 31)...), seed+1)
	return must(walrus.ParsePrivateKey(base64.StdEncoding.EncodeToString(secret)))(t)
}

// must returns a function that returns v, and fails the test if err is set.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// sign returns what members sign of message, whether they should or not.
func (s *scene) sign(t testing.TB, message []byte, members ...int) *walrus.Certificate {
	t.Helper()
	signatures := make(map[int]walrus.Signature)
	for _, m := range members {
		signatures[m] = s.keys[m].Sign(message)
	}
	return must(s.by.Certify(message, signatures))(t)
}

func stored(id walrus.BlobID) []byte { return walrus.StoredMessage{Epoch: epoch, Blob: id}.Bytes() }

// signed returns what a quorum has signed of each blob.
func (s *scene) signed(t testing.TB) map[walrus.BlobID]*walrus.Certificate {
	t.Helper()
	all := make(map[walrus.BlobID]*walrus.Certificate)
	for i, id := range s.blobs {
		signers := []int{0, 2, 3}
		all[id] = s.sign(t, stored(id), signers[i%2:]...)
		if i%2 == 1 { // 4 of 7 shards are too few
			all[id] = s.sign(t, stored(id), signers...)
		}
	}
	return all
}

func (s *scene) certificate(t testing.TB) *Certificate {
	t.Helper()
	c, _, err := New(t.Context(), s.id, s.table, s.by, s.signed(t))
	return must(c, err)(t)
}

func TestACertificateIsVerifiedOffline(t *testing.T) {
	for _, blobs := range []int{2, 3, 308} { // the table of the last lies in a list
		s := newScene(t, blobs, 1)
		c := s.certificate(t)
		data := c.Append(nil)
		back, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if again := back.Append(nil); !bytes.Equal(again, data) {
			t.Fatal("written again it differs")
		}
		told := 0
		v, err := back.Verify(t.Context(), s.id, s.by, func(done int) { told = max(told, done) })
		if err != nil {
			t.Fatal(err)
		}
		want := blobs + len(s.table) - 1 // one is twice in the table
		if len(s.blobs) != want || v.Blobs != want || told != want {
			t.Errorf("%d blobs, told of %d, want %d", v.Blobs, told, want)
		}
		if v.Epoch != epoch || v.Weight != 6 || v.Quorum != 5 || v.Shards != 7 || !slices.Equal(v.Signed, []int{want, 0, want, want}) {
			t.Errorf("verdict: %+v", v)
		}
		t.Logf("%d blobs: %d bytes", want, len(data))
	}
}

// Whatever bit is altered, and wherever it is cut off or goes on, it is
// refused.
func TestEveryBitCounts(t *testing.T) {
	s := newScene(t, 2, 1)
	data := s.certificate(t).Append(nil)
	accepted := func(b []byte) bool {
		c, err := Parse(b)
		if err == nil {
			_, err = c.Verify(t.Context(), s.id, s.by, nil)
		}
		return err == nil
	}
	const firstStart = headerStart + 4096 + 2*catalog.RecordSize
	if !accepted(data) {
		t.Fatal("it is not even accepted as it is")
	}
	for i := range data {
		for bit := range 8 {
			if headerStart <= i && bit != i%8 && (i < firstStart || firstStart+141 <= i) {
				continue // one of each byte of the header, and of other certificates than the first
			}
			data[i] ^= 1 << bit
			if accepted(data) {
				t.Errorf("accepted with bit %d of byte %d altered", bit, i)
			}
			data[i] ^= 1 << bit
		}
		if accepted(data[:i]) {
			t.Errorf("accepted when cut off at byte %d", i)
		}
	}
	if accepted(append(slices.Clone(data), 0)) || accepted(append(slices.Clone(data), data...)) {
		t.Error("accepted with something behind it")
	}
}

// What somebody might try, and what he is told.
func TestFalseCertificatesAreRefused(t *testing.T) {
	s := newScene(t, 3, 1)
	others := newScene(t, 3, 50) // another committee, of the same shape
	_, smaller := dataset(t, 7, 2)
	object := &walrus.ObjectID{1}
	deletable := walrus.StoredMessage{Epoch: epoch, Blob: s.blobs[1], Object: object}.Bytes()
	earlier := walrus.StoredMessage{Epoch: epoch - 1, Blob: s.blobs[1]}.Bytes()
	swap := func(c *Certificate, one *walrus.Certificate) { c.signed[1] = one }
	alter := func(c *Certificate, f func(one *walrus.Certificate)) {
		one := *c.signed[1]
		one.Message, one.Signers = slices.Clone(one.Message), slices.Clone(one.Signers)
		f(&one)
		c.signed[1] = &one
	}
	for name, try := range map[string]struct {
		forge func(c *Certificate)
		want  string
	}{
		"nothing": {func(c *Certificate) {}, ""},
		"a blob is left out of the table": {func(c *Certificate) {
			c.header, c.signed = smaller[0], c.signed[:len(c.signed)-1]
		}, "its header blob is not that of dataset " + s.id.String()},
		"a blob is left out": {func(c *Certificate) { c.signed = c.signed[:len(c.signed)-1] }, "it is cut off"},
		"a blob is added":    {func(c *Certificate) { c.signed = append(c.signed, c.signed[0]) }, "bytes follow its end"},
		"of another blob":    {func(c *Certificate) { swap(c, c.signed[2]) }, "certificate of blob " + s.blobs[2].String() + ", want " + s.blobs[1].String()},
		"below the quorum":   {func(c *Certificate) { swap(c, s.sign(t, stored(s.blobs[1]), 0, 2)) }, "signed for 4 of 7 shards, 5 needed"},
		"a signer more": {func(c *Certificate) {
			swap(c, s.sign(t, stored(s.blobs[1]), 0, 2))
			alter(c, func(x *walrus.Certificate) { x.Signers[0] = 13 })
		}, "signature is wrong"},
		"the one without a key":  {func(c *Certificate) { alter(c, func(x *walrus.Certificate) { x.Signers[0] |= 2 }) }, "signed by member 1, which has no key"},
		"a member that is none":  {func(c *Certificate) { alter(c, func(x *walrus.Certificate) { x.Signers[0] |= 16 }) }, "signed by member 4 of 4"},
		"members that are none":  {func(c *Certificate) { alter(c, func(x *walrus.Certificate) { x.Signers = append(x.Signers, 1) }) }, "bitmap of 2 bytes for 4 members"},
		"signed in other epoch":  {func(c *Certificate) { swap(c, s.sign(t, earlier, 0, 2, 3)) }, "certificate of epoch 20, the committee is that of 21"},
		"of other epoch":         {func(c *Certificate) { c.Epoch-- }, "it is of epoch 20, the committee of epoch 21"},
		"deletable":              {func(c *Certificate) { swap(c, s.sign(t, deletable, 0, 2, 3)) }, "certified as deletable, by the owner of object " + object.String()},
		"of another committee":   {func(c *Certificate) { *c = *others.certificate(t) }, "it is that of another committee"},
		"said to be of this one": {func(c *Certificate) { was := c.committee; *c = *others.certificate(t); c.committee = was }, "signature is wrong"},
		"one of another's":       {func(c *Certificate) { swap(c, others.sign(t, stored(s.blobs[1]), 0, 2, 3)) }, "signature is wrong"},
		"of another dataset":     {func(c *Certificate) { c.Dataset[0] ^= 1 }, "it is that of dataset "},
		"the header of another":  {func(c *Certificate) { c.header = slices.Clone(c.header); c.header[4096+31] ^= 1 }, "its header blob is not that of dataset"},
	} {
		c := s.certificate(t)
		try.forge(c)
		back, err := Parse(c.Append(nil))
		if err == nil {
			_, err = back.Verify(t.Context(), s.id, s.by, nil)
		}
		switch {
		case name == "nothing":
			if err != nil {
				t.Error(err)
			}
		case err == nil || !strings.Contains(err.Error(), try.want):
			t.Errorf("%s: %v, want %s", name, err, try.want)
		}
	}

	// The same certificates do not serve for what else one could take them
	// for.
	c := s.certificate(t)
	if _, err := c.Verify(t.Context(), others.blobs[1], s.by, nil); err == nil || !strings.Contains(err.Error(), "not of "+others.blobs[1].String()) {
		t.Errorf("for another dataset: %v", err)
	}
	next := must(walrus.NewCommittee(epoch+1, s.members))(t)
	if _, err := c.Verify(t.Context(), s.id, next, nil); err == nil || !strings.Contains(err.Error(), "it is of epoch 21, the committee of epoch 22") {
		t.Errorf("in the next epoch: %v", err)
	}
	for name, change := range map[string]func(m []walrus.Member){
		"weights": func(m []walrus.Member) { m[0].Weight, m[1].Weight = 1, 2 },
		"order":   func(m []walrus.Member) { m[0], m[2] = m[2], m[0] },
		"a key":   func(m []walrus.Member) { m[3].Key = others.keys[3].Public() },
	} {
		members := slices.Clone(s.members)
		change(members)
		if _, err := c.Verify(t.Context(), s.id, must(walrus.NewCommittee(epoch, members))(t), nil); err == nil || !strings.Contains(err.Error(), "another committee") {
			t.Errorf("other %s: %v", name, err)
		}
	}
}

// A dataset of many blobs names lists in its header: each has to have the id
// that the header gives it.
func TestListsAreProven(t *testing.T) {
	s := newScene(t, 500, 1)
	c := &Certificate{
		Dataset: s.id, Epoch: epoch, committee: Committee(s.by), header: s.table[0], lists: s.table[1:],
		table: must(parseTable(s.id, s.table))(t), signed: make([]*walrus.Certificate, len(s.blobs)),
	}
	for i := range c.signed {
		c.signed[i] = &walrus.Certificate{}
	}
	if _, err := c.Verify(t.Context(), s.id, s.by, nil); err == nil || !strings.Contains(err.Error(), "confirmation: ") {
		t.Errorf("not signed at all: %v", err)
	}
	list := slices.Clone(c.lists[1])
	list[0] ^= 1
	c.lists = [][]byte{c.lists[0], list}
	if _, err := c.Verify(t.Context(), s.id, s.by, nil); err == nil || !strings.Contains(err.Error(), "its list 1 of blobs is not that of dataset") {
		t.Errorf("a list that names another blob: %v", err)
	}
	for name, table := range map[string][][]byte{
		"no header": nil, "no list": s.table[:1], "a list less": s.table[:2], "a list more": append(slices.Clip(s.table), s.table[1]),
		"a short list": {s.table[0], s.table[1], slices.Clip(s.table[2][catalog.RecordSize:])},
	} {
		if _, err := Blobs(s.id, table); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A dataset coded for other committees cannot be certified by this one.
func TestTheDatasetIsCodedForTheCommittee(t *testing.T) {
	s := newScene(t, 3, 1)
	s.id, s.table = dataset(t, 10, 3)
	s.blobs = must(Blobs(s.id, s.table))(t)
	if _, _, err := New(t.Context(), s.id, s.table, s.by, s.signed(t)); err == nil || !strings.Contains(err.Error(), "coded for 10 shards, the committee has 7") {
		t.Error(err)
	}
}

func TestOnlyWhatIsTrueIsMade(t *testing.T) {
	s := newScene(t, 3, 1)
	signed := s.signed(t)
	delete(signed, s.blobs[2])
	if _, _, err := New(t.Context(), s.id, s.table, s.by, signed); err == nil || !strings.Contains(err.Error(), s.blobs[2].String()+" is not certified") {
		t.Errorf("a blob is not certified: %v", err)
	}
	signed[s.blobs[2]] = signed[s.blobs[1]]
	if _, _, err := New(t.Context(), s.id, s.table, s.by, signed); err == nil {
		t.Error("made with the certificate of another blob")
	}
}

// goldenStart is what comes before the header blob; goldenSum is the BLAKE3 of
// all.
const (
	goldenStart = "464c4f4543455254" + "01000000" + "15000000" // FLOECERT, version 1, epoch 21
	goldenSum   = "d794172113dcf63474827a707cd749fb792c7b28bf12f4176b3d9c6419733b6c"
)

func TestGolden(t *testing.T) {
	s := newScene(t, 2, 1)
	data := s.certificate(t).Append(nil)
	committee := Committee(s.by)
	want := goldenStart + hex.EncodeToString(committee[:]) + hex.EncodeToString(s.id[:]) +
		"50100000" + "464c4f4544415441" // 4096 bytes and two records, which begin with FLOEDATA
	if got := hex.EncodeToString(data[:headerStart+8]); got != want {
		t.Errorf("begins with %s, want %s", got, want)
	}
	// The certificate of the header blob: 140 bytes, a message of 40, a bitmap
	// of 1.
	want = "8b00" + "28" + "010003" + "15000000" + hex.EncodeToString(s.id[:]) + "00" + "01" + "0d"
	if got := hex.EncodeToString(data[headerStart+4096+2*catalog.RecordSize:][:len(want)/2]); got != want {
		t.Errorf("after the header blob comes %s, want %s", got, want)
	}
	if got := merkle.Blake3(data).String(); got != goldenSum {
		t.Errorf("BLAKE3 of its %d bytes is %s, want %s", len(data), got, goldenSum)
	}
}

func FuzzParse(f *testing.F) {
	s := newScene(f, 2, 1)
	good := s.certificate(f).Append(nil)
	f.Add(good)
	f.Add(good[:headerStart])
	many := slices.Clone(good) // says that there are more blobs than there are
	many[headerStart+32] = 255
	f.Add(many)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x parsed, but is written as %x", b, again)
		}
		if _, err := c.Verify(t.Context(), s.id, s.by, nil); err == nil && !bytes.Equal(b, good) {
			t.Fatalf("%x accepted", b)
		}
	})
}
