package cachestore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/floefs/floe/merkle"
)

// Names in the index file.
var (
	infoBucket    = []byte("info")
	segmentBucket = []byte("segments")
	secretKey     = []byte("secret")
)

// commitMax is how many entries go into one transaction, so that none holds
// much memory or takes long.
const commitMax = 20_000

// An index is the open database. Only the keeper uses it, and only writes:
// what is in it has been loaded into memory before it is opened.
type index struct {
	db     *bbolt.DB
	secret [32]byte
}

// An op is a change of one entry; a nil value deletes it.
type op struct{ key, value []byte }

// loadIndex reads the entries of an index file without bbolt. It visits those
// that match their checksum even if it returns an error, which says that the
// file must not be used any more.
func loadIndex(f *os.File, visit func(Key, segment)) (secret [32]byte, err error) {
	st, err := f.Stat()
	if err != nil {
		return secret, err
	}
	var known bool
	var bad int
	err = walkGraph(f, st.Size(), func(bucket, key, value []byte) {
		switch {
		case bytes.Equal(bucket, infoBucket) && bytes.Equal(key, secretKey) && len(value) == 40:
			copy(secret[:], value)
			known = secretSum(secret) == [8]byte(value[32:])
		case bytes.Equal(bucket, segmentBucket) && known: // "info" sorts before "segments"
			k, g, err := parseEntry(&secret, key, value)
			if err != nil {
				bad++
				return
			}
			visit(k, g)
		default:
			bad++
		}
	})
	switch {
	case err != nil:
		return secret, err
	case !known:
		return secret, errors.New("the index has lost its secret")
	case bad > 0:
		return secret, fmt.Errorf("%d index entries are damaged", bad)
	}
	return secret, nil
}

func secretSum(secret [32]byte) [8]byte {
	sum := merkle.Blake3(append([]byte("floe cache secret"), secret[:]...))
	return [8]byte(sum[:8])
}

// openIndex opens a file that loadIndex has accepted.
func (d *dir) openIndex(secret [32]byte) (*index, error) {
	x := &index{secret: secret}
	err := guard(func() (err error) {
		x.db, err = bbolt.Open(indexName, 0o600, &bbolt.Options{
			Timeout:         time.Second,
			FreelistType:    bbolt.FreelistMapType,
			PageSize:        pageSize,
			InitialMmapSize: 64 << 20,
			NoStatistics:    true,
			OpenFile: func(name string, flag int, _ os.FileMode) (*os.File, error) {
				return openFile(d.top, name, flag)
			},
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	return x, nil
}

// newIndex makes an empty index file in place of the one that is there, which
// stays beside it, as the only one of its kind.
func (d *dir) newIndex() (*index, error) {
	d.quarantine()
	var secret [32]byte
	rand.Read(secret[:])
	x, err := d.openIndex(secret)
	if err != nil {
		return nil, err
	}
	sum := secretSum(secret)
	err = guard(func() error {
		return x.db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(infoBucket)
			if err != nil {
				return err
			}
			if _, err := tx.CreateBucketIfNotExists(segmentBucket); err != nil {
				return err
			}
			return b.Put(secretKey, append(secret[:], sum[:]...))
		})
	})
	if err != nil {
		x.close()
		return nil, fmt.Errorf("making the index: %w", err)
	}
	return x, nil
}

// commit writes ops, which are in the order of their keys, synced.
func (x *index) commit(ops []op) error {
	return guard(func() error {
		return x.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(segmentBucket)
			if b == nil {
				return errDamaged
			}
			b.FillPercent = 0.9 // the segments of a blob come in order
			for _, o := range ops {
				var err error
				if o.value == nil {
					err = b.Delete(o.key)
				} else {
					err = b.Put(o.key, o.value)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// close closes the database. After a panic inside bbolt its locks may be held
// for ever; such an index is abandoned instead.
func (x *index) close() error {
	return guard(x.db.Close)
}

// errDamaged says that bbolt has met something in its file that cannot be.
var errDamaged = errors.New("the index is damaged")

// guard runs fn, in a goroutine of its own, and returns a panic of it, or a
// fault on mapped memory, as an error wrapping errDamaged.
func guard(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		debug.SetPanicOnFault(true) // of this goroutine only
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("%w: %v", errDamaged, r)
			}
		}()
		done <- fn()
	}()
	return <-done
}
