package walrus

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloudflare/circl/ecc/bls12381"
)

// # FORMAT: certificate
//
//	uleb  length, and the bytes of the message
//	uleb  length, and the bitmap of signers: member i of the committee, in its
//	      order, is bit i%8 of byte i/8, bit 0 being the least significant
//	96    aggregate signature
//
// These are the three things certify_blob and invalidate_blob_id take on Sui;
// the message bears all but the names of the signers. A bitmap has at most as
// many bytes as the committee asks for, and no bit beyond it.
//
// A committee of n shards, f = (n-1)/3, certifies a blob with signers who have
// more than 2f shards, and calls it invalid with more than f.
//
// TestOfficialConfirmations proves the messages and aggregates.

// A Member of a committee signs with the weight of its shards.
type Member struct {
	Key    PublicKey // zero: it signs nothing
	Weight int       // shards
}

// A Committee is who may sign in an epoch, in the order of the bitmap.
// Possession of their keys has been proven. NewCommittee makes one. It does not
// change, and may be used concurrently.
type Committee struct {
	epoch   Epoch
	members []Member
	points  []*bls12381.G1 // of the members' keys, which cost more to check than to add; nil: no key
	n       int            // shards
}

// NewCommittee returns the committee of an epoch. Members, whose order
// matters, have all the shards between them.
func NewCommittee(epoch Epoch, members []Member) (*Committee, error) {
	c := &Committee{epoch: epoch, members: slices.Clone(members)}
	for i, m := range members {
		if m.Weight < 0 || m.Weight > MaxShards {
			return nil, fmt.Errorf("committee: member %d has %d shards", i, m.Weight)
		}
		c.n += m.Weight
		if m.Key == (PublicKey{}) {
			c.points = append(c.points, nil)
			continue
		}
		point, err := m.Key.point()
		if err != nil {
			return nil, fmt.Errorf("committee: member %d: %w", i, err)
		}
		c.points = append(c.points, point)
	}
	if _, err := NewParams(c.n, 0); err != nil {
		return nil, fmt.Errorf("committee: %w", err)
	}
	return c, nil
}

// Epoch returns the epoch of the committee.
func (c *Committee) Epoch() Epoch { return c.epoch }

// Members returns the members, which must not be changed.
func (c *Committee) Members() []Member { return c.members }

// Shards returns how many shards the members have between them.
func (c *Committee) Shards() int { return c.n }

// Quorum returns the least weight that certifies a blob: all but f shards may
// be those of liars or absent, and yet f+1 honest ones have signed.
func (c *Committee) Quorum() int { return 2*((c.n-1)/3) + 1 }

// Validity returns the least weight that contains an honest shard, and calls a
// blob invalid.
func (c *Committee) Validity() int { return (c.n-1)/3 + 1 }

// A Certificate is a message that members of a committee have signed together.
type Certificate struct {
	Message   []byte
	Signers   []byte // bitmap
	Signature Signature
}

// A SignerError names the members whose signatures are wrong.
type SignerError struct{ Members []int }

func (e *SignerError) Error() string {
	return "signatures of members " + strings.Trim(fmt.Sprint(e.Members), "[]") + " are wrong"
}

func (e *SignerError) Unwrap() error { return ErrSignature }

// Certify aggregates signatures of message, by member. If some are wrong, the
// error is a SignerError. It does not ask for a quorum; see Verify.
func (c *Committee) Certify(message []byte, signatures map[int]Signature) (*Certificate, error) {
	cert := &Certificate{Message: slices.Clone(message)}
	signers := slices.Sorted(maps.Keys(signatures))
	all := make([]Signature, len(signers))
	for i, m := range signers {
		if m < 0 || m >= len(c.members) {
			return nil, fmt.Errorf("certificate: member %d of %d", m, len(c.members))
		}
		all[i] = signatures[m]
		for len(cert.Signers) <= m/8 {
			cert.Signers = append(cert.Signers, 0)
		}
		cert.Signers[m/8] |= 1 << (m % 8)
	}
	sum, err := Aggregate(all)
	if err == nil {
		cert.Signature = sum
		_, err = c.verify(cert, 0)
	}
	if err == nil {
		return cert, nil
	}
	// One pairing for all is the rule; looking for the wrong ones is not.
	wrong := &SignerError{}
	for i, m := range signers {
		if c.members[m].Key.Verify(message, all[i]) != nil {
			wrong.Members = append(wrong.Members, m)
		}
	}
	if len(wrong.Members) > 0 {
		err = wrong
	}
	return nil, fmt.Errorf("certificate: %w", err)
}

// verify returns the members who have signed. They must have the weight least.
func (c *Committee) verify(cert *Certificate, least int) ([]int, error) {
	if len(cert.Signers) > (len(c.members)+7)/8 {
		return nil, fmt.Errorf("bitmap of %d bytes for %d members", len(cert.Signers), len(c.members))
	}
	var signers []int
	var keys []*bls12381.G1
	weight := 0
	for i := range 8 * len(cert.Signers) {
		if cert.Signers[i/8]>>(i%8)&1 == 0 {
			continue
		}
		if i >= len(c.members) {
			return nil, fmt.Errorf("signed by member %d of %d", i, len(c.members))
		}
		if c.points[i] == nil {
			return nil, fmt.Errorf("signed by member %d, which has no key", i)
		}
		signers, keys = append(signers, i), append(keys, c.points[i])
		weight += c.members[i].Weight
	}
	if weight < least {
		return nil, fmt.Errorf("signed for %d of %d shards, %d needed", weight, c.n, least)
	}
	return signers, verifySum(keys, cert.Message, cert.Signature)
}

// VerifyStored reports if cert does not say that a quorum of c stores blob id.
// It returns who has signed, and what.
func (c *Committee) VerifyStored(cert *Certificate, id BlobID) (StoredMessage, []int, error) {
	m, err := ParseStoredMessage(cert.Message)
	if err != nil {
		return m, nil, fmt.Errorf("certificate: %w", err)
	}
	signers, err := c.verifyAbout(cert, id, m.Blob, m.Epoch, c.Quorum())
	return m, signers, err
}

// VerifyInvalid reports if cert does not say that blob id is inconsistent,
// according to members of c of whom one is honest. It returns who has signed.
func (c *Committee) VerifyInvalid(cert *Certificate, id BlobID) ([]int, error) {
	m, err := ParseInvalidMessage(cert.Message)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c.verifyAbout(cert, id, m.Blob, m.Epoch, c.Validity())
}

func (c *Committee) verifyAbout(cert *Certificate, want, got BlobID, e Epoch, least int) ([]int, error) {
	if got != want {
		return nil, fmt.Errorf("certificate of blob %s, want %s", got, want)
	}
	if e != c.epoch {
		return nil, fmt.Errorf("certificate of epoch %d, the committee is that of %d", e, c.epoch)
	}
	signers, err := c.verify(cert, least)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return signers, nil
}

// Append appends cert to b.
func (cert *Certificate) Append(b []byte) []byte {
	b = appendBytes(appendBytes(b, cert.Message), cert.Signers)
	return append(b, cert.Signature[:]...)
}

// ParseCertificate parses what Append writes. Message and bitmap are parts of
// b.
func ParseCertificate(b []byte) (*Certificate, error) {
	d := decoder{rest: b}
	cert := &Certificate{Message: d.bytes(maxMessage), Signers: d.bytes((MaxShards + 7) / 8)}
	d.fill(cert.Signature[:])
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}
