package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/floefs/floe/engine/certificate"
	"github.com/floefs/floe/engine/committee"
	"github.com/floefs/floe/engine/walrus"
)

// keptCertificate is the value of --certificate that names the one put kept.
const keptCertificate = "kept"

// A certifiedJSON is the answer of verify --certificate --json.
type certifiedJSON struct {
	Dataset   string `json:"dataset"`
	Certified bool   `json:"certified"`
	*certificateJSON
	Error string `json:"error,omitempty"` // why the certificate proves nothing
}

// certified checks the certificate of a dataset. It reads two files, and asks
// nobody.
func (v *verifying) certified(ctx context.Context, e *env, p *printer, arg string) error {
	if v.deep {
		return usagef("--deep reads every sliver, --certificate none: leave one out")
	}
	s, err := e.datasetOnly(arg, "certificates are those of floe put")
	if err != nil {
		return err
	}
	if s.path != "" {
		return usagef("%s: datasets are certified whole", arg)
	}
	nodes, file, err := e.committeeOf(v.from, s)
	if err != nil {
		return err
	}
	by, err := nodes.Signers()
	if err != nil {
		return fmt.Errorf("committee %s: %w", file, err)
	}
	path, err := v.certificatePath(e, s, by, file)
	if err != nil {
		return err
	}
	verdict, err := v.verdict(ctx, e, path, s.id, by)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	code := exitCode(ctx, err)
	switch {
	case v.json && (err == nil || code == exitDamaged):
		j := certifiedJSON{Dataset: s.id.String(), Certified: err == nil}
		if err != nil {
			j.Error = err.Error()
			return errors.Join(p.object(j), errTold.as(exitDamaged))
		}
		j.certificateJSON = newCertificateJSON(path, verdict, nodes.Names())
		return p.object(j)
	case code == exitDamaged:
		return exitWith(exitDamaged, fmt.Errorf("%s is not certified: %w", s, err))
	case err != nil:
		return err
	}
	j := newCertificateJSON(path, verdict, nodes.Names())
	_, err = fmt.Fprintf(p, "%s is certified: in epoch %d nodes with %d of %d shards, of which it takes %d, have signed that they store %s of it\nsigned by %s\n",
		s, j.Epoch, j.Weight, j.Shards, j.Quorum, all(j.Blobs), j.signedBy())
	return err
}

func all(blobs int) string {
	if blobs == 1 {
		return "the one blob"
	}
	return fmt.Sprintf("all %s blobs", grouped(blobs))
}

// verdict verifies the certificate in a file. If it is false, the error has the
// exit code.
func (v *verifying) verdict(ctx context.Context, e *env, path string, id walrus.BlobID, by *walrus.Committee) (certificate.Verdict, error) {
	c, err := readCertificate(path)
	if err != nil {
		return certificate.Verdict{}, err
	}
	show := newProgress(e, v.quiet)
	defer show.end()
	verdict, err := c.Verify(ctx, id, by, func(done int) {
		show.show(func() string { return fmt.Sprintf("checking signatures: %s blobs", grouped(done)) })
	})
	if err != nil {
		err = exitWith(exitDamaged, err)
	}
	return verdict, err
}

// certificatePath returns where the certificate is that is asked for.
func (v *verifying) certificatePath(e *env, s subject, by *walrus.Committee, committee string) (string, error) {
	if v.certificate != keptCertificate {
		return e.abs(v.certificate), nil
	}
	path := e.certificateFile(s.id, by)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	other := ""
	if files, _ := filepath.Glob(e.anyCertificate(s.id)); len(files) > 0 {
		other = ", only by another"
	}
	return "", exitWith(exitNotFound, fmt.Errorf("no certificate of %s by the committee %s is kept here%s: floe put --to %s DIR asks for one, --certificate=FILE names one",
		s, committee, other, shellQuote(committee)))
}

// committeeOf reads the committee that is to have certified s, and returns
// where it is: the one to read from, or that which the name stands for.
func (e *env) committeeOf(from []string, s subject) (*committee.Committee, string, error) {
	if len(from) == 0 {
		from = []string{s.store}
	}
	var files []string
	for _, url := range from {
		kind, path, err := e.placeOf(url)
		if err != nil {
			return nil, "", err
		}
		if kind == committeeScheme {
			files = append(files, path)
		}
	}
	if len(files) != 1 {
		return nil, "", usagef("a certificate is by one committee: say which: floe verify --certificate --from committee.toml %s", s)
	}
	c, err := committee.Read(files[0])
	return c, files[0], err
}
