package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/certs"
)

// inject makes the webhook configurations trust what the Secret names and what
// this replica uses. What else they trust another replica may be using: it goes a
// while after the Secret's certificate changed.
func (s *Secret) inject(ctx context.Context, now time.Time) error {
	named := parseBundle(s.last.Data[certs.CAFile])
	if s.config.Webhooks == "" || len(named) == 0 {
		return nil
	}
	named = append(named, parseBundle(s.inUse[certs.CAFile])...)
	keep := now.Before(s.forgetAt())
	for _, object := range []client.Object{&admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{}} {
		err := s.client.Get(ctx, types.NamespacedName{Name: s.config.Webhooks}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %T %s to make it trust the certificate: %w", object, s.config.Webhooks, err)
		}
		if !trust(object, named, keep, now) {
			continue
		}
		if err := s.client.Update(ctx, object); err != nil {
			return fmt.Errorf("make %T %s trust the certificate: %w", object, s.config.Webhooks, err)
		}
	}
	return nil
}

// trust sets the bundle in each webhook, with what it holds already if that is
// to be kept, and reports whether that changed any.
func trust(object client.Object, named []*x509.Certificate, keep bool, now time.Time) bool {
	var clients []*admissionv1.WebhookClientConfig
	switch configuration := object.(type) {
	case *admissionv1.MutatingWebhookConfiguration:
		for i := range configuration.Webhooks {
			clients = append(clients, &configuration.Webhooks[i].ClientConfig)
		}
	case *admissionv1.ValidatingWebhookConfiguration:
		for i := range configuration.Webhooks {
			clients = append(clients, &configuration.Webhooks[i].ClientConfig)
		}
	}
	changed := false
	for _, c := range clients {
		all := named
		if keep {
			all = append(parseBundle(c.CABundle), named...)
		}
		if bundle := encodeBundle(all, now); !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	return changed
}
