package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/floefs/floe/engine/certificate"
	"github.com/floefs/floe/engine/walrus"
)

// certificateFile returns where the certificate of a dataset by a committee is
// kept. That of a later epoch takes the place of that of an earlier one.
func (e *env) certificateFile(id walrus.BlobID, by *walrus.Committee) string {
	committee := certificate.Committee(by)
	return filepath.Join(e.places().data, "certificates", id.String()+"."+hex.EncodeToString(committee[:8]))
}

// keepCertificate writes a certificate where certificateFile says. Durable on
// return.
func (e *env) keepCertificate(c *certificate.Certificate, by *walrus.Committee) (path string, err error) {
	path = e.certificateFile(c.Dataset, by)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, replaceFile(path, c.Append(nil))
}

// forgetCertificates removes what is kept of a dataset's certificates.
func (e *env) forgetCertificates(id walrus.BlobID) error {
	files, err := filepath.Glob(e.anyCertificate(id))
	for _, path := range files {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return fmt.Errorf("forgetting the certificates of %s: %w", id, err)
	}
	return nil
}

// anyCertificate is the pattern of the files of a dataset's certificates.
func (e *env) anyCertificate(id walrus.BlobID) string {
	return filepath.Join(e.places().data, "certificates", id.String()+".*")
}

// readCertificate reads a certificate. What is malformed has its exit code.
func readCertificate(path string) (*certificate.Certificate, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no certificate %s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, certificate.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	c, err := certificate.Parse(data)
	if err != nil {
		return nil, exitWith(exitDamaged, fmt.Errorf("%s: %w", path, err))
	}
	return c, nil
}
