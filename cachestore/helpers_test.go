package cachestore

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// memDir returns a directory in memory, if there is one, for tests that would
// otherwise wait for the disk most of the time.
func memDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "floe-cachestore-")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var silent = slog.New(slog.DiscardHandler)

func fnvSum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// exercise opens, walks and changes a database, as hard as it can.
func exercise(path string) error {
	return guard(func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize, FreelistType: bbolt.FreelistMapType, Timeout: time.Second, NoSync: true})
		if err != nil {
			return err
		}
		defer db.Close()
		for i := range 3 {
			err := db.Update(func(tx *bbolt.Tx) error {
				var names [][]byte
				tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
					names = append(names, append([]byte(nil), name...))
					return nil
				})
				for _, name := range names {
					b := tx.Bucket(name)
					if b == nil {
						return fmt.Errorf("bucket %q is not found", name)
					}
					n := 0
					c := b.Cursor()
					for k, _ := c.First(); k != nil; k, _ = c.Next() {
						if n++; n%3 == i {
							if err := c.Delete(); err != nil {
								return err
							}
						}
					}
					for j := range 100 {
						if err := b.Put([]byte(fmt.Sprint("key", i, j)), make([]byte, 50)); err != nil {
							return err
						}
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return nil
		})
	})
}
