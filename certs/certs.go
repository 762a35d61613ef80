// Package certs holds the certificates of detnet's servers and clients and
// follows them as they are renewed. Every tls.Config it hands out reads the
// newest good pair at each handshake, so a renewal needs no restart.
//
// Two sources embed Current and so have the same methods: Dir, for a mounted
// Secret that somebody else (cert-manager, or detnet's own controller for its
// agents) fills, and issuer.Secret, for one that the program issues itself. It
// is a package of its own because the agent, which only reads, runs on every
// node and is to be small. A program that may do either chooses once, as in the
// example of package issuer, and then uses its tls.Configs.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Keys of a Secret, and names of files in a mounted one. CAFile is a bundle:
// while a certificate is being replaced it trusts the old and the new.
const (
	CertFile = "tls.crt"
	KeyFile  = "tls.key"
	CAFile   = "ca.crt"
)

// Current is the certificate in use, with the CA that its peers are held to.
// The zero value has none yet: handshakes fail and Ready says so.
type Current struct {
	pair atomic.Pointer[pair]
}

type pair struct {
	certificate tls.Certificate
	roots       *x509.CertPool
}

// Set puts a certificate to use from the next handshake on; an error leaves the
// one before in use.
func (c *Current) Set(certPEM, keyPEM, caPEM []byte) error {
	p, err := parsePair(certPEM, keyPEM, caPEM)
	if err != nil {
		return err
	}
	c.pair.Store(p)
	return nil
}

func parsePair(certPEM, keyPEM, caPEM []byte) (*pair, error) {
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", CertFile, KeyFile, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, fmt.Errorf("%s: no certificate in PEM form", CAFile)
	}
	return &pair{certificate, roots}, nil
}

var errNoCertificate = errors.New("no certificate yet: wait until it has been issued")

func (c *Current) get() (*pair, error) {
	p := c.pair.Load()
	if p == nil {
		return nil, errNoCertificate
	}
	return p, nil
}

// Ready is a readiness check: nil once there is a certificate.
func (c *Current) Ready(*http.Request) error {
	_, err := c.get()
	return err
}

// RegisterExpiry registers the gauge
// detnet_certificate_expiry_timestamp_seconds with the label certificate: the
// end of validity in Unix time, 0 while there is no certificate.
func (c *Current) RegisterExpiry(registerer prometheus.Registerer, certificate string) error {
	return registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "detnet_certificate_expiry_timestamp_seconds",
		Help:        "End of validity of the certificate in use, as Unix time; 0 while there is none.",
		ConstLabels: prometheus.Labels{"certificate": certificate},
	}, func() float64 {
		p, err := c.get()
		if err != nil {
			return 0
		}
		return float64(p.certificate.Leaf.NotAfter.Unix())
	}))
}

// ClientCertificate is for a tls.Config of a client that is asked who it is.
func (c *Current) ClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	p, err := c.get()
	if err != nil {
		return nil, err
	}
	return &p.certificate, nil
}

// ServerConfig is for a server that anyone who trusts the CA may call: TLS 1.3,
// no client certificate asked for.
func (c *Current) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			p, err := c.get()
			if err != nil {
				return nil, err
			}
			return &p.certificate, nil
		},
	}
}

// MutualServerConfig is for a server that only holders of a certificate from
// the same CA may call.
func (c *Current) MutualServerConfig() *tls.Config {
	config := c.ServerConfig()
	// The verification is ours because ClientCAs is fixed once, and the CA is not.
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error {
		return c.verify(state, x509.ExtKeyUsageClientAuth)
	}
	return config
}

// MutualClientConfig is for a client of MutualServerConfig. The server's
// certificate must carry serverName, whatever address was dialled.
func (c *Current) MutualClientConfig(serverName string) *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		ServerName:           serverName,
		GetClientCertificate: c.ClientCertificate,
		// Skips only the built-in check, whose RootCAs is fixed once;
		// VerifyConnection makes the same check against the CA of the moment.
		InsecureSkipVerify: true, //nolint:gosec // verified below
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := c.verify(state, x509.ExtKeyUsageServerAuth); err != nil {
				return err
			}
			// Apart from Verify, which takes an empty name for "any".
			return state.PeerCertificates[0].VerifyHostname(serverName)
		},
	}
}

// Showing has a client show own to servers that say whose certificate they want
// (Callers.Announce), and to the others the one that config has it show.
func Showing(config *tls.Config, own *Current) *tls.Config {
	config, others := config.Clone(), config.GetClientCertificate
	config.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(asked.AcceptableCAs) == 0 {
			return others(asked)
		}
		return own.ClientCertificate(asked)
	}
	return config
}

func (c *Current) verify(state tls.ConnectionState, usage x509.ExtKeyUsage) error {
	p, err := c.get()
	if err != nil {
		return err
	}
	leaf := state.PeerCertificates[0] // never empty: a server must send one and a client is required to
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots:         p.roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return fmt.Errorf("verify the peer's certificate (%s): %w", leaf.Subject, err)
	}
	return nil
}
