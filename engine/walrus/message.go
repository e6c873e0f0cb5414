package walrus

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// # FORMAT: signed messages
//
//	u8    type
//	00    version of the intent
//	03    application: Walrus
//	u32   epoch
//	      body
//
//	type  meaning                       body
//	0     possession of a private key   32-byte Sui address, 48-byte public key
//	1     a node stores a blob          32-byte blob id, then 00 (permanent) or
//	                                    01 and the 32-byte id of the blob object
//	2     a blob is inconsistent        32-byte blob id
//	3     request to sync a shard       00 (version 1), u16 shard, 00 or 01
//	                                    (primary or secondary), 32-byte first
//	                                    blob id, u64 count, u32 epoch
//
// A SignedMessage is a vector of these bytes and a signature of 96 bytes. In
// JSON it is {"serializedMessage": base64, "signature": base64}.
//
// TestOfficialConfirmations proves types 1 and 2.

// The types of messages.
const (
	messagePossession = iota
	messageStored
	messageInvalid
	messageSyncShard
)

// maxMessage bounds the bytes of any message.
const maxMessage = 128

// An Epoch numbers the terms of committees.
type Epoch uint32

// An ObjectID is an address on Sui.
type ObjectID [32]byte

// String returns id as 0x and 64 hexadecimal digits.
func (id ObjectID) String() string { return "0x" + hex.EncodeToString(id[:]) }

// ParseObjectID is the inverse of String; it takes digits of either case.
func ParseObjectID(s string) (ObjectID, error) {
	var id ObjectID
	if len(s) == 2+2*len(id) && s[:2] == "0x" {
		if _, err := hex.Decode(id[:], []byte(s[2:])); err == nil {
			return id, nil
		}
	}
	return ObjectID{}, fmt.Errorf("%q is no object id: want 0x and 64 hexadecimal digits", s)
}

// A StoredMessage says that its signer stores all slivers of a blob that are
// assigned to it.
type StoredMessage struct {
	Epoch  Epoch
	Blob   BlobID
	Object *ObjectID // of a deletable blob; nil for a permanent one
}

// Bytes returns what is signed.
func (m StoredMessage) Bytes() []byte {
	b := append(messageHeader(messageStored, m.Epoch), m.Blob[:]...)
	if m.Object == nil {
		return append(b, 0)
	}
	return append(append(b, 1), m.Object[:]...)
}

// ParseStoredMessage is the inverse of Bytes.
func ParseStoredMessage(b []byte) (m StoredMessage, err error) {
	d := decoder{rest: b}
	m.Epoch = d.messageHeader(messageStored)
	d.fill(m.Blob[:])
	if d.variant(2) == 1 {
		m.Object = new(ObjectID)
		d.fill(m.Object[:])
	}
	return m, d.endMessage("confirmation")
}

// An InvalidMessage says that its signer has seen proof that a blob is
// inconsistent.
type InvalidMessage struct {
	Epoch Epoch
	Blob  BlobID
}

// Bytes returns what is signed.
func (m InvalidMessage) Bytes() []byte {
	return append(messageHeader(messageInvalid, m.Epoch), m.Blob[:]...)
}

// ParseInvalidMessage is the inverse of Bytes.
func ParseInvalidMessage(b []byte) (m InvalidMessage, err error) {
	d := decoder{rest: b}
	m.Epoch = d.messageHeader(messageInvalid)
	d.fill(m.Blob[:])
	return m, d.endMessage("message about an invalid blob")
}

// A PossessionMessage, signed with Key's private key, says that its signer has
// that. A committee admits only such keys: otherwise a member could choose its
// key so that it signs for others in aggregates.
type PossessionMessage struct {
	Epoch   Epoch
	Address ObjectID // on Sui, that registers the key
	Key     PublicKey
}

// Bytes returns what is signed.
func (m PossessionMessage) Bytes() []byte {
	b := append(messageHeader(messagePossession, m.Epoch), m.Address[:]...)
	return append(b, m.Key[:]...)
}

// ParsePossessionMessage is the inverse of Bytes. Whether the key is one is
// for PublicKey.Verify to say.
func ParsePossessionMessage(b []byte) (m PossessionMessage, err error) {
	d := decoder{rest: b}
	m.Epoch = d.messageHeader(messagePossession)
	d.fill(m.Address[:])
	d.fill(m.Key[:])
	return m, d.endMessage("proof of possession")
}

// Possession returns the proof of possession of k that goes with its public
// key where no chain registers it: of epoch 0 and address 0.
func (k *PrivateKey) Possession() Signature {
	return k.Sign(PossessionMessage{Key: k.public}.Bytes())
}

// VerifyPossession reports, with ErrSignature, if s is not what Possession
// returns of k's private key.
func (k PublicKey) VerifyPossession(s Signature) error {
	return k.Verify(PossessionMessage{Key: k}.Bytes(), s)
}

// A SyncShardMessage asks the former owner of a shard for its slivers.
type SyncShardMessage struct {
	Epoch     Epoch // in which it is signed
	Shard     int
	Axis      Axis
	First     BlobID // of those asked for, in the order of their bytes
	Count     uint64 // of slivers
	Certified Epoch  // before which the blobs were certified
}

// Bytes returns what is signed.
func (m SyncShardMessage) Bytes() []byte {
	b := append(messageHeader(messageSyncShard, m.Epoch), 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(m.Shard))
	b = append(append(b, byte(m.Axis)), m.First[:]...)
	b = binary.LittleEndian.AppendUint64(b, m.Count)
	return binary.LittleEndian.AppendUint32(b, uint32(m.Certified))
}

// ParseSyncShardMessage is the inverse of Bytes.
func ParseSyncShardMessage(b []byte) (m SyncShardMessage, err error) {
	d := decoder{rest: b}
	m.Epoch = d.messageHeader(messageSyncShard)
	d.variant(1)
	m.Shard, m.Axis = d.u16(), Axis(d.variant(2))
	d.fill(m.First[:])
	m.Count, m.Certified = d.u64(), Epoch(d.u32())
	return m, d.endMessage("request to sync a shard")
}

func messageHeader(kind byte, e Epoch) []byte {
	return binary.LittleEndian.AppendUint32([]byte{kind, 0, 3}, uint32(e))
}

func (d *decoder) messageHeader(kind byte) Epoch {
	if got := [3]byte{d.u8(), d.u8(), d.u8()}; got != [3]byte{kind, 0, 3} {
		d.fail("intent %x, want %x", got, []byte{kind, 0, 3})
	}
	return Epoch(d.u32())
}

func (d *decoder) endMessage(what string) error {
	if err := d.end(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// A SignedMessage is a message and the signature of one node. Its JSON is that
// of the nodes' answers.
type SignedMessage struct {
	Message   []byte    `json:"serializedMessage"`
	Signature Signature `json:"signature"`
}

// Append appends s to b.
func (s SignedMessage) Append(b []byte) []byte {
	return append(appendBytes(b, s.Message), s.Signature[:]...)
}

// ParseSignedMessage parses a message of any type. Its bytes are part of b.
func ParseSignedMessage(b []byte) (s SignedMessage, err error) {
	d := decoder{rest: b}
	s.Message = d.bytes(maxMessage)
	d.fill(s.Signature[:])
	return s, d.endMessage("signed message")
}
