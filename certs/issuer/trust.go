package issuer

import (
	"bytes"
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/detnet/detnet/certs"
)

// trusted is what the Secret names and what this replica uses, with what is trusted already
// for a while after the Secret's certificate changed: another replica may be using that.
func (s *Secret) trusted(already []byte, now time.Time) []byte {
	all := append(parseBundle(s.last.Data[certs.CAFile]), parseBundle(s.inUse[certs.CAFile])...)
	if now.Before(s.forgetAt()) {
		all = append(all, parseBundle(already)...)
	}
	return encodeBundle(all, now)
}

// publish has the ConfigMap name who is to be trusted.
func (s *Secret) publish(ctx context.Context, now time.Time) error {
	if !s.config.Publish || len(parseBundle(s.last.Data[certs.CAFile])) == 0 {
		return nil
	}
	var public corev1.ConfigMap
	err := s.client.Get(ctx, s.config.Secret, &public)
	if apierrors.IsNotFound(err) {
		log.FromContext(ctx).Info("a ConfigMap is missing by which others learn whom to trust: helm upgrade makes it again", "configMap", s.config.Secret)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %s to publish the certificate: %w", s.config.Secret, err)
	}
	bundle := string(s.trusted([]byte(public.Data[certs.CAFile]), now))
	if public.Data[certs.CAFile] == bundle {
		return nil
	}
	public.Data = map[string]string{certs.CAFile: bundle}
	if err := s.client.Update(ctx, &public); err != nil {
		return fmt.Errorf("publish the certificate in ConfigMap %s: %w", s.config.Secret, err)
	}
	return nil
}

// inject makes the webhook configurations trust what is to be trusted.
func (s *Secret) inject(ctx context.Context, now time.Time) error {
	if s.config.Webhooks == "" || len(parseBundle(s.last.Data[certs.CAFile])) == 0 {
		return nil
	}
	for _, object := range []client.Object{&admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{}} {
		err := s.client.Get(ctx, types.NamespacedName{Name: s.config.Webhooks}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %T %s to make it trust the certificate: %w", object, s.config.Webhooks, err)
		}
		if !s.trust(object, now) {
			continue
		}
		if err := s.client.Update(ctx, object); err != nil {
			return fmt.Errorf("make %T %s trust the certificate: %w", object, s.config.Webhooks, err)
		}
	}
	return nil
}

// trust sets the bundle in each webhook, and reports whether that changed any.
func (s *Secret) trust(object client.Object, now time.Time) bool {
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
		if bundle := s.trusted(c.CABundle, now); !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	return changed
}
