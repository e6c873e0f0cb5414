package blob

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// maxEvidence is how many accusations a directory keeps.
const maxEvidence = 64

// An accusation says which node served what instead of what, and when. Beside
// it lie the bytes. Anyone can check it: hash the bytes as a sliver of the
// blob, compare with the metadata, compare that with the blob id. If it is
// about metadata, compare the bytes with the blob id.
type accusation struct {
	Time     time.Time     `json:"time"`
	Node     string        `json:"node"`
	Blob     walrus.BlobID `json:"blob"`
	Shards   int           `json:"n_shards,omitempty"`
	Size     uint64        `json:"blob_bytes,omitempty"`
	Axis     string        `json:"axis"` // or "metadata"
	Index    int           `json:"index"`
	Want     string        `json:"want,omitempty"`
	Error    string        `json:"error"`
	Metadata []byte        `json:"metadata,omitempty"` // the body of a PUT, which proves Want
	Bytes    string        `json:"bytes"`              // the file beside this one
}

// accuse keeps evidence of a false sliver and returns where; "" if it keeps
// none.
func (c *Client) accuse(p *peer, id walrus.BlobID, meta *walrus.Metadata, at walrus.SliverID, data []byte, lie error) string {
	return c.keepEvidence(accusation{
		Time: time.Now().UTC(), Node: p.Name, Blob: id, Shards: meta.N(), Size: meta.Size,
		Axis: at.Axis.String(), Index: at.Index, Want: meta.Hash(at).String(), Error: lie.Error(),
		Metadata: meta.Append(nil),
	}, data)
}

// accuseOfMetadata is accuse for metadata.
func (c *Client) accuseOfMetadata(p *peer, id walrus.BlobID, data []byte, lie error) string {
	return c.keepEvidence(accusation{Time: time.Now().UTC(), Node: p.Name, Blob: id, Axis: "metadata", Error: lie.Error()}, data)
}

// keepEvidence writes an accusation and the bytes it is about. A disk that
// fails is not worth failing a read for.
func (c *Client) keepEvidence(a accusation, data []byte) string {
	if c.evidence == "" || os.MkdirAll(c.evidence, 0o700) != nil {
		return ""
	}
	if old, err := filepath.Glob(filepath.Join(c.evidence, "*.json")); err != nil || len(old) >= maxEvidence {
		return ""
	}
	// One of each: a node that says it again adds nothing.
	node := fnv.New32a()
	node.Write([]byte(a.Node))
	name := fmt.Sprintf("%s-%s-%d-%08x", a.Blob, a.Axis, a.Index, node.Sum32())
	a.Bytes = name + ".false"
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return ""
	}
	path := filepath.Join(c.evidence, name+".json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return path
	}
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Write(append(text, '\n')); err != nil {
		return ""
	}
	if err := os.WriteFile(filepath.Join(c.evidence, a.Bytes), data, 0o600); err != nil {
		return ""
	}
	return path
}
