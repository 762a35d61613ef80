package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/detnet/detnet/certs"
)

// knowledge is since when a certificate (PEM) is trusted everywhere that trust is told of
// beside the Secret; what is not in it is not trusted somewhere.
type knowledge map[string]time.Time

// told is what knowledge there is of one certificate.
type told struct {
	everywhere bool
	since      time.Time
}

func (k knowledge) of(certPEM []byte) told {
	since, everywhere := k[string(certPEM)]
	return told{everywhere, since}
}

// trusted is what the Secret names and what this replica uses, with what is trusted already
// until a while after the Secret's certificate is known: another replica may be using that.
func (s *Secret) trusted(already []byte, now time.Time) []byte {
	all := append(parseBundle(s.last.Data[certs.CAFile]), parseBundle(s.inUse[certs.CAFile])...)
	if !s.known.of(s.last.Data[certs.CertFile]).everywhere || now.Before(s.forgetAt()) {
		all = append(all, parseBundle(already)...)
	}
	return encodeBundle(all, now)
}

// tell has everybody who learns it elsewhere than from the Secret trust what is to be
// trusted. Who can't be told keeps no other from it, and the error says so.
func (s *Secret) tell(ctx context.Context, now time.Time) error {
	var behind [][]byte // the bundles of those who were not told
	var errs []error
	if len(parseBundle(s.last.Data[certs.CAFile])) > 0 {
		for _, object := range s.elsewhere() {
			left, err := s.tellBy(ctx, object, now)
			behind, errs = append(behind, left...), append(errs, ignoreConflict(err))
		}
	}
	known := make(knowledge)
	for _, file := range []string{certs.CertFile, nextCertFile} {
		certificate := s.last.Data[file]
		if slices.ContainsFunc(behind, func(bundle []byte) bool { return !vouches(bundle, certificate, now) }) {
			continue
		}
		known[string(certificate)] = now
		if before := s.known.of(certificate); before.everywhere {
			known[string(certificate)] = before.since
		}
	}
	s.known = known
	return errors.Join(errs...)
}

// elsewhere are the objects beside the Secret that trust is taken from, by name.
func (s *Secret) elsewhere() (objects []client.Object) {
	if s.config.Webhooks != "" {
		named := metav1.ObjectMeta{Name: s.config.Webhooks}
		objects = append(objects, &admissionv1.MutatingWebhookConfiguration{ObjectMeta: named}, &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: named})
	}
	if s.config.Publish {
		objects = append(objects, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.config.Secret.Namespace, Name: s.config.Secret.Name}})
	}
	return objects
}

// tellBy writes the trust into an object. It returns the bundles that others go on with where
// it could not be written, or there is none.
func (s *Secret) tellBy(ctx context.Context, object client.Object, now time.Time) ([][]byte, error) {
	key := client.ObjectKeyFromObject(object)
	err := s.client.Get(ctx, key, object)
	if apierrors.IsNotFound(err) {
		if _, public := object.(*corev1.ConfigMap); public {
			log.FromContext(ctx).Info("a ConfigMap is missing by which others learn whom to trust: helm upgrade makes it again", "configMap", key)
			return [][]byte{s.read(now)}, nil // and learn of no other
		}
		return nil, nil // nobody asks
	}
	if err != nil {
		return [][]byte{nil}, fmt.Errorf("read %T %s to make it trust the certificate: %w", object, key.Name, err)
	}
	standing, changed := s.trust(object, now)
	if !changed {
		return nil, nil
	}
	if err := s.client.Update(ctx, object); err != nil {
		return standing, fmt.Errorf("make %T %s trust the certificate: %w", object, key.Name, err)
	}
	return nil, nil
}

// read is the certificate that who read the ConfigMap while it was there has: the one in use, and not
// what came into the Secret since; the Secret's where none is of use.
func (s *Secret) read(now time.Time) []byte {
	if s.rotation.usable(s.inUse[certs.CertFile], s.inUse[certs.KeyFile], now) != nil {
		return s.inUse[certs.CertFile]
	}
	return s.last.Data[certs.CertFile]
}

// vouches reports whether who trusts a bundle trusts a certificate, which may bring others
// with it that lead there (RFC 8446 section 4.4.2).
func vouches(bundle, certPEM []byte, now time.Time) bool {
	chain := parseBundle(certPEM)
	if len(chain) == 0 {
		return false
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, certificate := range chain[1:] {
		others.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

// trust sets each bundle in an object. It returns what stood there, and whether any changed.
func (s *Secret) trust(object client.Object, now time.Time) (standing [][]byte, changed bool) {
	set := func(bundle []byte) []byte {
		next := s.trusted(bundle, now)
		standing, changed = append(standing, bundle), changed || !bytes.Equal(bundle, next)
		return next
	}
	switch o := object.(type) {
	case *corev1.ConfigMap:
		o.Data = map[string]string{certs.CAFile: string(set([]byte(o.Data[certs.CAFile])))}
	case *admissionv1.MutatingWebhookConfiguration:
		for i := range o.Webhooks {
			o.Webhooks[i].ClientConfig.CABundle = set(o.Webhooks[i].ClientConfig.CABundle)
		}
	case *admissionv1.ValidatingWebhookConfiguration:
		for i := range o.Webhooks {
			o.Webhooks[i].ClientConfig.CABundle = set(o.Webhooks[i].ClientConfig.CABundle)
		}
	}
	return standing, changed
}
