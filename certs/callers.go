package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/detnet/detnet/internal/plainfile"
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

// Announce is Require of a server that says in each handshake whose certificates it wants, for
// Showing: by the names in the files now, which stay when keys change.
func (c Callers) Announce(config *tls.Config) (*tls.Config, error) {
	config = c.Require(config)
	var err error
	config.ClientCAs, err = c.authorities()
	return config, err
}

// Ask has everybody who connects asked for a certificate and lets them in without
// one too: for Handler, where a server has more to answer than theirs, such as a
// kubelet's health checks.
func (c Callers) Ask(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.ClientAuth = tls.RequestClientCert
	return config
}

// Handler answers those whom Require would let in, and the others with 403.
func (c Callers) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := errors.New("no certificate was shown")
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			err = c.verify(*r.TLS)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (c Callers) verify(state tls.ConnectionState) error {
	roots, err := c.authorities()
	if err != nil {
		return fmt.Errorf("verify the caller: %w", err)
	}
	leaf := state.PeerCertificates[0] // never empty: one is required or was shown
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

// authorities are those in the files that can be read; none is an error.
func (c Callers) authorities() (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	var errs []error
	known := false
	for _, name := range c.Files {
		pem, err := plainfile.Read(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		known = roots.AppendCertsFromPEM(pem) || known
	}
	if !known {
		return nil, fmt.Errorf("no authority in %v: %w", c.Files, errors.Join(errs...))
	}
	return roots, nil
}
