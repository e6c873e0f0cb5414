package publish

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/floefs/floe/engine/walrus"
	"github.com/floefs/floe/merkle"
)

// A journal remembers which blobs one store has, by their bytes, so that what
// an interrupted run has stored need not be encoded again. It is a hint: what
// it says is checked with the store, and nothing is lost with it.
//
// # FORMAT: journal, version 1
//
// One line for each blob, appended when it is stored:
//
//	blob1 HASH SIZE SHARDS ID CHECK
//
// HASH is the BLAKE3 of the blob's bytes in hex, ID its id, and CHECK the
// first 16 hex digits of the BLAKE3 of the line up to the space before it.
// Lines that are not like that are skipped.
type journal struct {
	log   *slog.Logger
	file  *os.File // nil after a failed write
	blobs map[journalKey]walrus.BlobID
}

// A journalKey is a blob's bytes and how they are encoded.
type journalKey struct {
	hash   merkle.Hash
	size   int64
	shards int
}

// maxJournal is when the older half of a journal is forgotten: after 100,000
// blobs, which are 6 TB.
const maxJournal = 16 << 20

// openJournal opens the journal at path, or makes one. Without a path there
// is none, nor if it cannot be had: nil, which remembers nothing.
func openJournal(path string, log *slog.Logger) *journal {
	if path == "" {
		return nil
	}
	j := &journal{log: log, blobs: make(map[journalKey]walrus.BlobID)}
	if err := j.open(path); err != nil {
		log.Warn("not remembering what is stored; if this run is interrupted, the next begins anew", "error", err)
		if j.file != nil {
			j.file.Close()
		}
		return nil
	}
	return j
}

func (j *journal) open(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	data, err := readTail(path, maxJournal)
	if err != nil {
		return err
	}
	if len(data) > maxJournal/2 {
		// Not exact, so that this happens once in many runs. A run that
		// writes at the same time loses a few lines by it, no more.
		if fi, err := os.Stat(path); err == nil && fi.Size() > maxJournal {
			data = data[len(data)-maxJournal/2:]
			if err := replace(path, data); err != nil {
				return err
			}
		}
	}
	for line := range bytes.Lines(data) {
		if key, id, ok := parseLine(strings.TrimSuffix(string(line), "\n")); ok {
			j.blobs[key] = id
		}
	}
	if j.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		_, err = j.file.WriteString("\n") // end a line that was cut off
	}
	return err
}

// readTail returns the last n bytes of a file, or all; nothing if there is no
// file.
func readTail(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(max(0, size-n), io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// replace makes path a file that holds data.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none of that name
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// key returns what a blob is remembered by.
func (j *journal) key(data []byte, shards int) journalKey {
	return journalKey{merkle.Blake3(data), int64(len(data)), shards}
}

func (j *journal) find(key journalKey) (walrus.BlobID, bool) {
	id, ok := j.blobs[key]
	return id, ok
}

// add remembers a blob. A nil journal does not. Only one goroutine calls it.
func (j *journal) add(key journalKey, id walrus.BlobID) {
	if j == nil || j.file == nil {
		return
	}
	// One write, so that lines of two processes do not mix.
	_, err := j.file.WriteString(formatLine(key, id) + "\n")
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.log.Warn("cannot remember what is stored", "error", err)
		j.file.Close()
		j.file = nil
	}
}

func (j *journal) close() {
	if j != nil && j.file != nil {
		j.file.Close()
	}
}

func formatLine(key journalKey, id walrus.BlobID) string {
	line := fmt.Sprintf("blob1 %s %d %d %s", key.hash, key.size, key.shards, id)
	return line + " " + checkOf(line)
}

func parseLine(line string) (key journalKey, id walrus.BlobID, ok bool) {
	var hash, name, check string
	if n, _ := fmt.Sscanf(line, "blob1 %s %d %d %s %s", &hash, &key.size, &key.shards, &name, &check); n != 5 {
		return key, id, false
	}
	raw, err := hex.DecodeString(hash)
	if err != nil || len(raw) != len(key.hash) {
		return key, id, false
	}
	copy(key.hash[:], raw)
	if id, err = walrus.ParseBlobID(name); err != nil {
		return key, id, false
	}
	return key, id, formatLine(key, id) == line
}

func checkOf(line string) string { return merkle.Blake3([]byte(line)).String()[:16] }
