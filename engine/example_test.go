package engine_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/node/dir"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// Reading a file of a dataset: everything is proven against the id.
func Example() {
	storePath, id := publishSomething()
	defer os.RemoveAll(filepath.Dir(storePath))
	ctx := context.Background()

	store, err := dir.Open(storePath, false)
	if err != nil {
		log.Fatal(err)
	}
	eng := engine.New(blob.New([]blob.Member{{Name: storePath, Node: store}}, nil), nil, nil)
	defer eng.Close()
	ds, err := eng.Open(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	data, err := fs.ReadFile(ds.FS(ctx), "train/labels.csv")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", data)
	// Output:
	// cat,0
	// dog,1
}

// publishSomething makes a dataset in a store below a temporary directory.
func publishSomething() (store string, id walrus.BlobID) {
	tmp, err := os.MkdirTemp("", "floe-example-")
	if err != nil {
		log.Fatal(err)
	}
	train := filepath.Join(tmp, "data", "train")
	if err := os.MkdirAll(train, 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(train, "labels.csv"), []byte("cat,0\ndog,1\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	store = filepath.Join(tmp, "store")
	s, err := dir.Open(store, true)
	if err != nil {
		log.Fatal(err)
	}
	sink, err := blob.New([]blob.Member{{Name: store, Node: s}}, nil).Writer()
	if err != nil {
		log.Fatal(err)
	}
	res, err := publish.Dir(context.Background(), filepath.Dir(train), sink, nil)
	if err != nil {
		log.Fatal(err)
	}
	return store, res.ID
}
