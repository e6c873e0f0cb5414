package walrus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudflare/circl/ecc/bls12381"
	"github.com/cloudflare/circl/sign/bls"
)

// # FORMAT: keys and signatures
//
// Nodes sign with BLS12-381: public keys are compressed points of G1, 48
// bytes, signatures compressed points of G2, 96 bytes, messages hashed to G2
// with the tag BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_. Signatures of one
// message are aggregated by adding them up, and so are the keys they are
// verified with. As text, keys and signatures are base64.
//
// A key file holds one line, base64 of a flag byte and the 32 bytes of the
// private key, big-endian: flag 04 for BLS12-381, and 02 for Secp256r1, with
// which nodes do TLS. The public key of the latter is a compressed point, 33
// bytes.
//
// TestOfficialConfirmations proves keys, signatures and aggregates.

const (
	flagSecp256r1 = 2
	flagBLS12381  = 4
)

// ErrSignature says that a signature is not that of this message and key.
var ErrSignature = errors.New("signature is wrong")

// A PublicKey verifies what a node signs. That its bytes are a key at all is
// known only if they come from ParsePublicKey or UnmarshalText.
type PublicKey [48]byte

// A Signature is that of one node, or the aggregate of several. That its bytes
// are one is known only after verification.
type Signature [96]byte

// ParsePublicKey checks that b is a key.
func ParsePublicKey(b []byte) (PublicKey, error) {
	var k PublicKey
	if len(b) != len(k) {
		return k, fmt.Errorf("public key of %d bytes, want %d", len(b), len(k))
	}
	if _, err := PublicKey(b).point(); err != nil {
		return k, err
	}
	return PublicKey(b), nil
}

// point returns k as an element of G1 other than the neutral one.
func (k PublicKey) point() (*bls12381.G1, error) {
	p := new(bls12381.G1)
	// SetBytes checks the subgroup.
	if err := p.SetBytes(k[:]); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if p.IsIdentity() {
		return nil, errors.New("public key: it is the neutral element")
	}
	return p, nil
}

// Verify reports, with ErrSignature, if s is not k's signature of message.
func (k PublicKey) Verify(message []byte, s Signature) error {
	var key bls.PublicKey[bls.KeyG1SigG2]
	if err := key.UnmarshalBinary(k[:]); err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	if !bls.Verify(&key, message, s[:]) {
		return ErrSignature
	}
	return nil
}

// String returns k in base64.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText returns String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of String, and checks that the bytes are a key.
func (k *PublicKey) UnmarshalText(text []byte) error {
	b, err := parseBase64(string(text), len(k))
	if err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	*k, err = ParsePublicKey(b)
	return err
}

// String returns s in base64.
func (s Signature) String() string { return base64.StdEncoding.EncodeToString(s[:]) }

// MarshalText returns String.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of String.
func (s *Signature) UnmarshalText(text []byte) error {
	b, err := parseBase64(string(text), len(s))
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	*s = Signature(b)
	return nil
}

// Aggregate returns the sum of signatures, at least one, of the same message.
// It does not verify them.
func Aggregate(signatures []Signature) (Signature, error) {
	all := make([]bls.Signature, len(signatures))
	for i := range signatures {
		all[i] = signatures[i][:]
	}
	sum, err := bls.Aggregate(bls.KeyG1SigG2{}, all)
	if err != nil {
		return Signature{}, fmt.Errorf("aggregating %d signatures: %w", len(signatures), err)
	}
	return Signature(sum), nil
}

// VerifyAggregate reports, with ErrSignature, if s is not the aggregate of the
// signatures of message by all these keys, at least one. It proves something
// only about keys whose possession was proven: see PossessionMessage.
func VerifyAggregate(keys []PublicKey, message []byte, s Signature) error {
	points := make([]*bls12381.G1, len(keys))
	for i, k := range keys {
		var err error
		if points[i], err = k.point(); err != nil {
			return err
		}
	}
	return verifySum(points, message, s)
}

// verifySum verifies with the sum of keys.
func verifySum(keys []*bls12381.G1, message []byte, s Signature) error {
	var sum bls12381.G1
	sum.SetIdentity()
	for _, k := range keys {
		sum.Add(&sum, k)
	}
	// Verify refuses the neutral element, to which no or contrived keys add up.
	return PublicKey(sum.BytesCompressed()).Verify(message, s)
}

// A PrivateKey signs for a node. It does not change, and may be used
// concurrently.
type PrivateKey struct {
	key    *bls.PrivateKey[bls.KeyG1SigG2]
	public PublicKey
}

// GenerateKey returns a new key.
func GenerateKey() *PrivateKey {
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	key, err := bls.KeyGen[bls.KeyG1SigG2](seed, nil, nil)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return newPrivateKey(key)
}

func newPrivateKey(key *bls.PrivateKey[bls.KeyG1SigG2]) *PrivateKey {
	// The library computes the public key when it is first asked for, without
	// a lock.
	b, err := key.PublicKey().MarshalBinary()
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return &PrivateKey{key, PublicKey(b)}
}

// ParsePrivateKey parses what a key file holds.
func ParsePrivateKey(file string) (*PrivateKey, error) {
	b, err := parseKeyFile(file, flagBLS12381)
	if err != nil {
		return nil, err
	}
	key := new(bls.PrivateKey[bls.KeyG1SigG2])
	if err := key.UnmarshalBinary(b); err != nil {
		return nil, errors.New("private key: not a number from 1 to below the order of the group")
	}
	return newPrivateKey(key), nil
}

// File returns what a key file holds: the secret itself.
func (k *PrivateKey) File() string {
	b, err := k.key.MarshalBinary()
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return keyFile(flagBLS12381, b)
}

// Public returns the key that verifies what k signs.
func (k *PrivateKey) Public() PublicKey { return k.public }

// Sign returns the signature of message.
func (k *PrivateKey) Sign(message []byte) Signature { return Signature(bls.Sign(k.key, message)) }

// SignMessage returns a message with its signature.
func (k *PrivateKey) SignMessage(message []byte) SignedMessage {
	return SignedMessage{message, k.Sign(message)}
}

// String names k without giving it away.
func (k *PrivateKey) String() string { return "private key of " + k.public.String() }

// GenerateNetworkKey returns a new key for TLS.
func GenerateNetworkKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// ParseNetworkKey parses what the file of a key for TLS holds.
func ParseNetworkKey(file string) (*ecdsa.PrivateKey, error) {
	b, err := parseKeyFile(file, flagSecp256r1)
	if err != nil {
		return nil, err
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
	if err != nil {
		return nil, errors.New("network key: not a number from 1 to below the order of the group")
	}
	return k, nil
}

// NetworkKeyFile returns what the file of a key for TLS, on the curve P-256,
// holds: the secret itself.
func NetworkKeyFile(k *ecdsa.PrivateKey) (string, error) {
	b, err := k.Bytes()
	if err != nil || k.Curve != elliptic.P256() {
		return "", errors.New("network key: not a key on P-256")
	}
	return keyFile(flagSecp256r1, b), nil
}

// A NetworkPublicKey is the public part of a key for TLS: what a committee
// pins.
type NetworkPublicKey [33]byte

// NewNetworkPublicKey returns k, which is on the curve P-256, compressed.
func NewNetworkPublicKey(k *ecdsa.PublicKey) (NetworkPublicKey, error) {
	b, err := k.Bytes() // 04, X, Y
	if err != nil || k.Curve != elliptic.P256() {
		return NetworkPublicKey{}, errors.New("network key: not a key on P-256")
	}
	var n NetworkPublicKey
	n[0] = 2 + b[64]&1 // 03 if Y is odd
	copy(n[1:], b[1:33])
	return n, nil
}

// ParseNetworkPublicKey returns the key with these compressed bytes, which must
// be a point of the curve.
func ParseNetworkPublicKey(b []byte) (NetworkPublicKey, error) {
	if x, _ := elliptic.UnmarshalCompressed(elliptic.P256(), b); x == nil {
		return NetworkPublicKey{}, errors.New("network key: not a compressed point on P-256")
	}
	return NetworkPublicKey(b), nil
}

// ServerName returns the name that self-made certificates with this key bear:
// the first 4 bytes in hexadecimal, each as short as it can be written.
func (n NetworkPublicKey) ServerName() string {
	return fmt.Sprintf("%x%x%x%x.network.walrus.alt", n[0], n[1], n[2], n[3])
}

func keyFile(flag byte, secret []byte) string {
	return base64.StdEncoding.EncodeToString(append([]byte{flag}, secret...))
}

// parseKeyFile returns the 32 bytes of a private key. Its errors do not show
// them.
func parseKeyFile(file string, flag byte) ([]byte, error) {
	b, err := parseBase64(strings.TrimSpace(file), 33)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if b[0] != flag {
		return nil, fmt.Errorf("key file: flag %02x, want %02x", b[0], flag)
	}
	return b[1:], nil
}

// parseBase64 returns the n bytes that s stands for in the one way of writing
// them.
func parseBase64(s string, n int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != n || base64.StdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("want %d bytes in base64", n)
	}
	return b, nil
}
