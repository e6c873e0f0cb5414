package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/floefs/floe/engine/walrus"
)

var keygenCommand = command{
	name:     "keygen",
	group:    "serve",
	brief:    "make a key for a storage node",
	complete: "file",
	help: `Usage: floe keygen [--network] FILE

  floe keygen node.key               with which a node signs what it stores
  floe keygen --network tls.key      by which clients know it over https

Writes the secret to FILE, which must not exist, for your eyes only, and prints
the public key as it stands in a committee file, with the proof that it is
that of a secret: others would not count what the node signs without it.
`,
	new: func(f *flags) action {
		k := &keygen{}
		f.BoolVar(&k.network, "network", false, "make a key for TLS")
		f.private("network")
		return k.run
	},
}

type keygen struct{ network bool }

func (k *keygen) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 {
		return usagef("floe keygen needs a file to write the key to: floe keygen node.key")
	}
	secret, public, err := k.make()
	if err != nil {
		return err
	}
	if err := writeSecret(e.abs(args[0]), secret); err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, public)
	return err
}

// make returns what the file holds, and the lines of a committee file.
func (k *keygen) make() (secret, public string, err error) {
	if !k.network {
		key := walrus.GenerateKey()
		return key.File(), publicKeyLines(key), nil
	}
	key, err := walrus.GenerateNetworkKey()
	if err != nil {
		return "", "", err
	}
	if secret, err = walrus.NetworkKeyFile(key); err != nil {
		return "", "", err
	}
	pub, err := walrus.NewNetworkPublicKey(&key.PublicKey)
	return secret, networkKeyLine(pub), err
}

func publicKeyLines(k *walrus.PrivateKey) string {
	return fmt.Sprintf("public_key = %q\npossession = %q", k.Public(), k.Possession())
}

func networkKeyLine(k walrus.NetworkPublicKey) string {
	return fmt.Sprintf("network_key = %q", base64.StdEncoding.EncodeToString(k[:]))
}

// writeSecret writes a file that was not there before. Durable on return.
func writeSecret(path, secret string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: a key is never overwritten: name another file", path)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}
