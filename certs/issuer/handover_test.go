package issuer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
)

// foreign is what another issuer writes: a certificate of an authority.
func foreign(t *testing.T, names ...string) map[string][]byte {
	t.Helper()
	now := time.Now()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(100 * time.Hour),
	}
	sign := func(template *x509.Certificate, public any) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, ca, public, caKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		certs.CAFile: sign(ca, caKey.Public()), certs.CertFile: sign(leaf, leafKey.Public()),
		certs.KeyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// served is a webhook of two replicas on a real API server; call makes a call
// that has to succeed, on a handshake with either.
type served struct {
	c             client.Client
	key           types.NamespacedName
	first, second *Secret
	call          func()
}

func serve(t *testing.T, first, second Config, data map[string][]byte) *served {
	t.Helper()
	admin := apitest.Start(t).Config
	c, err := client.New(admin, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, permissions("webhook")...)
	if data != nil {
		apply(t, c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: secretName}, Type: corev1.SecretTypeTLS, Data: data})
	}
	limited := rest.CopyConfig(admin)
	limited.Impersonate.UserName = "webhook"
	s := &served{c: c, key: first.Secret, first: replica(t, limited, first), second: replica(t, limited, second)}
	var turn atomic.Int64
	port, _ := admit(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return []*Secret{s.first, s.second}[turn.Add(1)%2].ServerConfig(), nil
	}})
	mutating, validating := webhooks(port)
	apply(t, c, mutating, validating)
	await.Until(t, "both replicas serve and are trusted", func() bool {
		ok := s.first.Ready(nil) == nil && s.second.Ready(nil) == nil
		for range 2 {
			ok = ok && c.Create(t.Context(), configMap()) == nil
		}
		return ok
	})
	s.call = func() {
		t.Helper()
		if err := c.Create(t.Context(), configMap()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// callUntil calls all the time until something is so, and a while after.
func (s *served) callUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	await.Until(t, what, func() bool { s.call(); return is() })
	for range 50 {
		s.call()
	}
}

func managedConfig(followed bool) Config {
	return Config{
		Secret: types.NamespacedName{Namespace: "default", Name: secretName}, DNSNames: []string{"localhost"},
		Webhooks: "detnet-webhook", Settle: 3 * time.Second, Followed: followed,
	}
}

func (s *served) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := new(corev1.Secret)
	if err := s.c.Get(t.Context(), s.key, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

// People delete the Secret to have a certificate made anew, or by mistake: it is
// made again with what is in use, an Event says so, and no call fails.
func TestDeletedSecretIsMadeAgain(t *testing.T) {
	s := serve(t, managedConfig(false), managedConfig(false), nil) // missing at the start, too
	before := s.secret(t)
	before.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
	if err := s.c.Update(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the replicas have seen the label", func() bool { return s.first.Ready(nil) == nil })
	if err := s.c.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	again := new(corev1.Secret)
	s.callUntil(t, "the Secret is there again", func() bool { return s.c.Get(t.Context(), s.key, again) == nil })
	if again.UID == before.UID || !bytes.Equal(again.Data[certs.CertFile], before.Data[certs.CertFile]) {
		t.Error("the certificate in use was not kept")
	}
	if len(again.Data[nextCertFile]) == 0 || len(parseBundle(again.Data[certs.CAFile])) < 2 {
		t.Error("no replacement is announced")
	}
	await.Until(t, "an Event says so", func() bool {
		var list eventsv1.EventList
		if err := s.c.List(t.Context(), &list, client.InNamespace("default")); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Reason == "SecretMissing" && e.Regarding.Name == secretName {
				return true
			}
		}
		return false
	})
}

// A rollback takes Secret and ConfigMap away under programs that run on for seconds. What they
// made would belong to no release.
func TestTakenBackIsNotMadeAgain(t *testing.T) {
	c, err := client.New(apitest.Start(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	meta := metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
	config := Config{Secret: key, DNSNames: []string{"detnet-controller"}, Publish: true, Settle: time.Hour}
	s := &Secret{config: config, client: c, events: events.NewFakeRecorder(10), rotation: rotation{config.DNSNames, 1000 * time.Hour, time.Hour}}
	looks := func(there bool) {
		t.Helper()
		if _, err := s.Reconcile(t.Context(), reconcile.Request{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), key, new(corev1.Secret)); (err == nil) != there {
			t.Fatalf("the Secret: %v; want it there: %v", err, there)
		}
	}
	remove := func(object client.Object) {
		t.Helper()
		if err := c.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, c, &corev1.ConfigMap{ObjectMeta: meta})
	looks(true) // none is in use, and everybody waits
	looks(true)
	remove(&corev1.Secret{ObjectMeta: meta})
	looks(false) // who took it may be about to take more
	s.config.Settle = 0
	looks(true)
	remove(&corev1.Secret{ObjectMeta: meta})
	remove(&corev1.ConfigMap{ObjectMeta: meta})
	looks(false)
	apply(t, c, &corev1.ConfigMap{ObjectMeta: meta}) // it was a mistake
	looks(true)
}

// Who learns trust from a ConfigMap that is missing knows what it said last, and nothing later.
func TestNoRotationPastAMissingConfigMap(t *testing.T) {
	c, err := client.New(apitest.Start(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	meta := metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
	config := Config{Secret: key, DNSNames: []string{"detnet-controller"}, Publish: true}
	aging := rotation{names: config.DNSNames, validity: 90 * 24 * time.Hour} // whoever is told has it at once
	data, _, err := aging.advance(nil, inSecret, time.Now().Add(-61*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, &corev1.Secret{ObjectMeta: meta, Data: data})
	s := &Secret{config: config, client: c, events: events.NewFakeRecorder(10), rotation: aging}
	looks := func() (secret corev1.Secret) {
		t.Helper()
		for range 4 {
			if _, err := s.Reconcile(t.Context(), reconcile.Request{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Get(t.Context(), key, &secret); err != nil {
			t.Fatal(err)
		}
		return secret
	}
	if secret := looks(); !bytes.Equal(secret.Data[certs.CertFile], data[certs.CertFile]) || len(secret.Data[nextCertFile]) == 0 {
		t.Error("rotated though the ConfigMap names nobody, or none is announced")
	}
	if !bytes.Equal(serving(s), data[certs.CertFile]) {
		t.Error("the certificate that was trusted last is not used")
	}
	apply(t, c, &corev1.ConfigMap{ObjectMeta: meta})
	if secret := looks(); bytes.Equal(secret.Data[certs.CertFile], data[certs.CertFile]) || !bytes.Equal(serving(s), secret.Data[certs.CertFile]) {
		t.Error("not rotated though all are told")
	}

	// Nor where the Secret holds another one meanwhile: it was emptied, or made again by a replica
	// that began after both were gone.
	known := serving(s)
	if err := c.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: meta}); err != nil {
		t.Fatal(err)
	}
	secret := looks()
	secret.Data = nil
	if err := c.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	if secret := looks(); len(secret.Data[certs.CertFile]) == 0 || !bytes.Equal(serving(s), known) {
		t.Error("a certificate is used that nobody was told of, in place of one that all trust")
	}
	apply(t, c, &corev1.ConfigMap{ObjectMeta: meta})
	if secret := looks(); !bytes.Equal(serving(s), secret.Data[certs.CertFile]) {
		t.Error("the new one is not used though all are told")
	}

	// Who may not be told is waited for until the one in use has expired, and no longer; it is said.
	known, s.client = serving(s), tellsNobody{c}
	secret = looks()
	secret.Data = nil
	if err := c.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		var err error
		for range 4 { // in the first there is nothing to tell of yet
			_, err = s.Reconcile(t.Context(), reconcile.Request{})
		}
		if !apierrors.IsForbidden(err) {
			t.Errorf("it is not said that somebody can't be told: %v", err)
		}
		if err := c.Get(t.Context(), key, &secret); err != nil {
			t.Fatal(err)
		}
	}
	if refused(); len(secret.Data[certs.CertFile]) == 0 || !bytes.Equal(serving(s), known) {
		t.Error("a certificate is used that could not be told of, in place of one that all trust")
	}
	if s.inUse, _, err = aging.advance(nil, inSecret, time.Now().Add(-91*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if refused(); !bytes.Equal(serving(s), secret.Data[certs.CertFile]) {
		t.Error("the one in use has expired, and the next one is still waited with")
	}
}

// tellsNobody may not write ConfigMaps.
type tellsNobody struct{ client.Client }

func (c tellsNobody) Update(ctx context.Context, object client.Object, opts ...client.UpdateOption) error {
	if _, public := object.(*corev1.ConfigMap); public {
		return apierrors.NewForbidden(corev1.Resource("configmaps"), object.GetName(), errors.New("by an administrator"))
	}
	return c.Client.Update(ctx, object, opts...)
}

// From detnet's own certificates to another issuer's: that issuer writes into the
// Secret while replicas of both settings run, and no call fails.
func TestHandoverToAnotherIssuer(t *testing.T) {
	s := serve(t, managedConfig(false), managedConfig(true), nil)
	theirs := foreign(t, "localhost")
	secret := s.secret(t)
	own := secret.Data[certs.CertFile]
	secret.Data = theirs
	if err := s.c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	is := func(r *Secret) bool { return bytes.Equal(serving(r), theirs[certs.CertFile]) }
	s.callUntil(t, "both serve the other issuer's certificate", func() bool { return is(s.first) && is(s.second) })
	s.callUntil(t, "trust in the certificate before it has gone", func() bool {
		configuration := new(registrationv1.MutatingWebhookConfiguration)
		if err := s.c.Get(t.Context(), types.NamespacedName{Name: "detnet-webhook"}, configuration); err != nil {
			t.Fatal(err)
		}
		return !bytes.Contains(configuration.Webhooks[0].ClientConfig.CABundle, bytes.TrimSpace(own))
	})
}

// And back: what the other issuer left is used on until it is due.
func TestHandoverFromAnotherIssuer(t *testing.T) {
	theirs := foreign(t, "localhost")
	s := serve(t, managedConfig(true), managedConfig(false), theirs)
	s.callUntil(t, "detnet looks after it", func() bool { return len(parseBundle(s.secret(t).Data[certs.CAFile])) == 2 })
	for _, replica := range []*Secret{s.first, s.second} {
		if !bytes.Equal(serving(replica), theirs[certs.CertFile]) {
			t.Error("the certificate was replaced before its time")
		}
	}
}
