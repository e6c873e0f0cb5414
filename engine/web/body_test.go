package web

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/floefs/floe/merkle"
)

// counted is a source that counts what is held of it.
type counted struct {
	data        merkle.Chunk
	loads, held int
}

func (c *counted) size() int64 { return int64(c.data.Len()) }

func (c *counted) load(_ context.Context, off int64, _ int) ([]merkle.Chunk, func(), error) {
	c.loads, c.held = c.loads+1, c.held+1
	return []merkle.Chunk{c.data.Slice(int(off), c.data.Len())}, func() { c.held-- }, nil
}

func TestASlowReaderWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := []byte("some bytes that are taken slowly")
		chunk, err := merkle.Prove(merkle.Blake3(data), data, merkle.Blake3)
		if err != nil {
			t.Fatal(err)
		}
		src := &counted{data: chunk}
		b := newBody(t.Context(), src)
		var got []byte
		p := make([]byte, 4)
		for {
			n, err := b.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil || src.held != 1 {
				t.Fatalf("%d pieces held, %v", src.held, err)
			}
			time.Sleep(turn / 2)
		}
		if string(got) != string(data) || src.loads != 3 {
			t.Errorf("%q in %d loads", got, src.loads)
		}
		b.close()
		if _, err := b.Read(p); src.held != 0 || err == nil {
			t.Errorf("%d pieces held after the end, %v", src.held, err)
		}
	})
}
