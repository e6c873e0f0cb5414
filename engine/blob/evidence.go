package blob

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// maxEvidence is how many accusations a directory keeps.
const maxEvidence = 64

// An accusation says which node served what instead of what, and when. Beside
// it lie the bytes. Anyone can check it: hash the bytes as a sliver of the
// blob, compare with the metadata, compare that with the blob id.
type accusation struct {
	Time     time.Time     `json:"time"`
	Node     string        `json:"node"`
	Blob     walrus.BlobID `json:"blob"`
	Shards   int           `json:"n_shards"`
	Size     uint64        `json:"blob_bytes"`
	Axis     string        `json:"axis"`
	Index    int           `json:"index"`
	Want     string        `json:"want"`
	Error    string        `json:"error"`
	Metadata []byte        `json:"metadata"` // the body of a PUT, which proves Want
	Bytes    string        `json:"bytes"`    // the file beside this one
}

// accuse keeps evidence of a lie and returns where; "" if it keeps none. A
// disk that fails is not worth failing a read for.
func (c *Client) accuse(p *peer, id walrus.BlobID, meta *walrus.Metadata, at walrus.SliverID, data []byte, lie error) string {
	if c.evidence == "" || os.MkdirAll(c.evidence, 0o700) != nil {
		return ""
	}
	if old, err := filepath.Glob(filepath.Join(c.evidence, "*.json")); err != nil || len(old) >= maxEvidence {
		return ""
	}
	// One of each: a node that says it again adds nothing.
	name := fmt.Sprintf("%s-%s-%d", id, at.Axis, at.Index)
	a := accusation{
		Time: time.Now().UTC(), Node: p.Name, Blob: id, Shards: meta.N(), Size: meta.Size,
		Axis: at.Axis.String(), Index: at.Index, Want: meta.Hash(at).String(), Error: lie.Error(),
		Metadata: meta.Append(nil), Bytes: name + ".sliver",
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return ""
	}
	path := filepath.Join(c.evidence, name+".json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return path // it is there, or cannot be
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
