package tests

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/floefs/floe/"

// allowed is the architecture: which of our packages each may import. Arrows
// point down only.
var allowed = map[string]string{
	"merkle":                 "",
	"cachestore":             "merkle",
	"engine/erasure":         "",
	"engine/walrus":          "engine/erasure merkle",
	"engine/catalog":         "merkle",
	"engine/node":            "engine/walrus merkle",
	"engine/committee":       "engine/walrus",
	"engine/node/dir":        "engine/node engine/walrus",
	"engine/node/aggregator": "engine/node engine/walrus",
	"engine/node/nodetest":   "engine/node engine/walrus",
	"engine/node/publisher":  "engine/node engine/walrus",
	"engine/node/s3":         "engine/node engine/walrus",
	"engine/certificate":     "engine/catalog engine/walrus merkle",
	"engine/blob":            "engine/erasure engine/node engine/walrus merkle",
	"engine/publish":         "engine/catalog engine/walrus merkle",
	"engine":                 "engine/catalog engine/walrus merkle",
	"engine/web":             "engine engine/catalog engine/walrus merkle",
	"fs":                     "engine engine/catalog merkle",
	"cmd/floe":               "cachestore engine engine/blob engine/catalog engine/certificate engine/committee engine/node engine/node/aggregator engine/node/dir engine/node/publisher engine/node/s3 engine/publish engine/walrus engine/web fs merkle",
}

// only lists the packages outside the standard library that just one of ours
// may touch.
var only = map[string]string{
	"github.com/aws/aws-sdk-go-v2":     "engine/node/s3",
	"github.com/aws/smithy-go":         "engine/node/s3",
	"github.com/cloudflare/circl":      "engine/walrus",
	"go.etcd.io/bbolt":                 "cachestore",
	"github.com/hanwen/go-fuse/v2":     "fs",
	"github.com/klauspost/reedsolomon": "engine/erasure",
	"github.com/spf13/pflag":           "cmd/floe",
}

func TestArrowsPointDown(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		if strings.HasPrefix(pkg, "tests") {
			continue
		}
		may, known := allowed[pkg]
		if !known {
			t.Errorf("package %s is not in the table; where does it stand?", pkg)
		}
		for _, imp := range fields[1:] {
			if ours, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(strings.Fields(may), ours) {
				t.Errorf("%s imports %s", pkg, ours)
			}
			for lib, owner := range only {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && pkg != owner {
					t.Errorf("%s imports %s, which only %s may", pkg, imp, owner)
				}
			}
		}
	}
}
