package issuer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/detnet/detnet/certs"
)

// Where the certificate waits that everyone already trusts and nobody yet uses.
const (
	nextCertFile = "next.crt"
	nextKeyFile  = "next.key"
)

// skew is how far another machine's clock may be behind when it first sees a
// new certificate.
const skew = 5 * time.Minute

// rotation decides what a self-managed Secret holds. Its certificates sign
// themselves and the bundle names each one: there is no CA key to guard, and
// none that a stolen Secret would give away.
//
// A replacement enters the bundle first and is put to use a spread later, when
// everyone has read the bundle; what it replaced stays in the bundle until it
// expires. So any two holders whose copies are less than a spread old trust
// each other at every moment. Where trust is told elsewhere too, the spread is
// counted from when it was told there; only a certificate that nobody can use
// any more is not waited with.
type rotation struct {
	names    []string      // DNS names
	validity time.Duration // of a new certificate; replaced in its last third
	spread   time.Duration // at least as long as the slowest reader takes
}

// issued is a certificate with what it takes to use it.
type issued struct {
	certificate     *x509.Certificate
	certPEM, keyPEM []byte
}

func (i *issued) issuedAt() time.Time { return i.certificate.NotBefore.Add(skew) }

func (i *issued) renewAt() time.Time {
	lifetime := i.certificate.NotAfter.Sub(i.issuedAt())
	return i.certificate.NotAfter.Add(-lifetime / 3)
}

// advance returns what the Secret should hold at now instead of data, equal to
// data where nothing is due, and when something will be. The replacement is told
// of since when t says.
func (r rotation) advance(data map[string][]byte, t told, now time.Time) (map[string][]byte, time.Time, error) {
	active := r.usable(data[certs.CertFile], data[certs.KeyFile], now)
	next := r.usable(data[nextCertFile], data[nextKeyFile], now)
	if next != nil && (active == nil || t.everywhere && !now.Before(r.usedAt(next, t))) {
		active, next = next, nil
	}
	var err error
	if active == nil {
		if active, err = r.issue(now); err != nil {
			return nil, time.Time{}, err
		}
	}
	if next == nil && !now.Before(active.renewAt()) {
		if next, err = r.issue(now); err != nil {
			return nil, time.Time{}, err
		}
	}

	trusted := append(parseBundle(data[certs.CAFile]), active.certificate)
	due := active.renewAt()
	out := map[string][]byte{certs.CertFile: active.certPEM, certs.KeyFile: active.keyPEM}
	if next != nil {
		trusted = append(trusted, next.certificate)
		if due = r.usedAt(next, t); !t.everywhere {
			due = now.Add(r.spread) // at the soonest
		}
		out[nextCertFile], out[nextKeyFile] = next.certPEM, next.keyPEM
	}
	out[certs.CAFile] = encodeBundle(trusted, now)
	return out, due, nil
}

// usedAt is when a replacement that is told everywhere is put to use.
func (r rotation) usedAt(next *issued, t told) time.Time {
	since := next.issuedAt()
	if t.since.After(since) {
		since = t.since
	}
	return since.Add(r.spread)
}

// renew returns data with a replacement announced in it, whatever the age of the
// certificate, or a first certificate where there is no data.
func (r rotation) renew(data map[string][]byte, now time.Time) (map[string][]byte, error) {
	if len(data) > 0 {
		next, err := r.issue(now)
		if err != nil {
			return nil, err
		}
		data = maps.Clone(data)
		data[nextCertFile], data[nextKeyFile] = next.certPEM, next.keyPEM
	}
	data, _, err := r.advance(data, told{}, now)
	return data, err
}

// usable reads a certificate, or returns nil where it is missing, broken, expired,
// made for other names or on a clock that was set back since: whatever the cause, a
// new one is the cure.
func (r rotation) usable(certPEM, keyPEM []byte, now time.Time) *issued {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil || !now.Before(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) || !slices.Equal(pair.Leaf.DNSNames, r.names) {
		return nil
	}
	return &issued{pair.Leaf, certPEM, keyPEM}
}

func (r rotation) issue(now time.Time) (*issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate a key for %v: %w", r.names, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("generate a serial number for %v: %w", r.names, err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: r.names[0]},
		DNSNames:              r.names,
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(r.validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create a certificate for %v: %w", r.names, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("create a certificate for %v: %w", r.names, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key for %v: %w", r.names, err)
	}
	return &issued{certificate, encodeCertificate(certificate), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}, nil
}

// parseBundle leaves out what it can't read: advance writes the bundle anew.
func parseBundle(bundle []byte) []*x509.Certificate {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			certificates = append(certificates, certificate)
		}
	}
	return certificates
}

// encodeBundle writes each unexpired certificate once, the newest first, so
// that equal sets have equal text.
func encodeBundle(certificates []*x509.Certificate, now time.Time) []byte {
	certificates = slices.Clone(certificates)
	slices.SortFunc(certificates, func(a, b *x509.Certificate) int {
		if order := b.NotBefore.Compare(a.NotBefore); order != 0 {
			return order
		}
		return bytes.Compare(a.Raw, b.Raw)
	})
	certificates = slices.CompactFunc(certificates, (*x509.Certificate).Equal)
	var bundle []byte
	for _, certificate := range certificates {
		if now.Before(certificate.NotAfter) {
			bundle = append(bundle, encodeCertificate(certificate)...)
		}
	}
	return bundle
}

func encodeCertificate(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
