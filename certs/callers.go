package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Callers says who may call a server: who holds a certificate for clients of an
// authority in one of the files (PEM). They are read at each handshake, so new
// authorities need no restart; one that is missing vouches for nobody.
type Callers struct {
	Files []string
	// Names that the certificate may carry, as its common name or a DNS name;
	// empty: any.
	Names []string
}

// Require holds everybody who connects to it, before anything of a request is read.
func (c Callers) Require(config *tls.Config) *tls.Config {
	config = config.Clone()
	// The verification is ours because ClientCAs is fixed once, and the files are not.
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyConnection = c.verify
	return config
}

func (c Callers) verify(state tls.ConnectionState) error {
	roots := x509.NewCertPool()
	var errs []error
	known := false
	for _, file := range c.Files {
		pem, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		known = roots.AppendCertsFromPEM(pem) || known
	}
	if !known {
		return fmt.Errorf("verify the caller: no authority in %v: %w", c.Files, errors.Join(errs...))
	}
	leaf := state.PeerCertificates[0] // never empty: a client is required to send one
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("verify the caller's certificate (%s): %w", leaf.Subject, err)
	}
	named := func(name string) bool { return name == leaf.Subject.CommonName || slices.Contains(leaf.DNSNames, name) }
	if len(c.Names) > 0 && !slices.ContainsFunc(c.Names, named) {
		return fmt.Errorf("verify the caller's certificate (%s): it carries none of the names %v", leaf.Subject, c.Names)
	}
	return nil
}
