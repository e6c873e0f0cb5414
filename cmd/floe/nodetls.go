package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// nodeTLS is how a node proves who it is over https: by a certificate that the
// web's authorities signed, or by a key that the committee file names.
type nodeTLS struct {
	network   string // file of the key that is named
	cert, key string // files of the certificate and its key

	pin *walrus.NetworkPublicKey // of network
}

func (t *nodeTLS) scheme() string {
	if t.network != "" || t.cert != "" {
		return "https"
	}
	return "http"
}

// certificate returns what to serve with; nil means plain http.
func (t *nodeTLS) certificate(e *env) (*tls.Certificate, error) {
	switch {
	case (t.cert == "") != (t.key == ""):
		return nil, usagef("--tls-cert and --tls-key belong together")
	case t.network != "" && t.cert != "":
		return nil, usagef("--network-key makes a certificate of its own: leave out --tls-cert")
	case t.cert != "":
		c, err := tls.LoadX509KeyPair(e.abs(t.cert), e.abs(t.key))
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", t.cert, t.key, err)
		}
		return &c, nil
	case t.network == "":
		return nil, nil
	}
	text, err := readSecret(e.abs(t.network), "floe keygen --network")
	var key *ecdsa.PrivateKey
	if err == nil {
		key, err = walrus.ParseNetworkKey(text)
	}
	var c *tls.Certificate
	if err == nil {
		c, err = t.selfMade(key)
	}
	if err != nil {
		return nil, fmt.Errorf("--network-key %s: %w", t.network, err)
	}
	return c, nil
}

// selfMade returns a certificate that the key itself has signed. Clients look
// at the key alone, so nothing else in it matters.
func (t *nodeTLS) selfMade(key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	pin, err := walrus.NewNetworkPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	t.pin = &pin
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: pin.ServerName()},
		DNSNames:     []string{pin.ServerName()},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
