package issuer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/certstest"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/logtest"
)

const secretName = "detnet-webhook-tls"

func apply(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

// permissions are those the package comment states, and no more.
func permissions(subject string) []client.Object {
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: subject}}
	verbs := []string{"get", "list", "watch", "update"}
	return []client.Object{
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Name: subject, Namespace: "default"},
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{secretName}, Verbs: verbs},
				{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
				{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
			},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: subject, Namespace: "default"},
			Subjects:   subjects,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: subject},
		},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: subject},
			Rules: []rbacv1.PolicyRule{{
				APIGroups:     []string{"admissionregistration.k8s.io"},
				Resources:     []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"},
				ResourceNames: []string{"detnet-webhook"},
				Verbs:         verbs,
			}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: subject},
			Subjects:   subjects,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: subject},
		},
	}
}

// replica runs a manager with a self-managed certificate until the test ends.
func replica(t *testing.T, cfg *rest.Config, c Config) *Secret {
	t.Helper()
	mgr, err := manager.New(cfg, manager.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
		Logger:  logr.FromSlogHandler(logtest.Of(t).Handler()),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := SelfManaged(mgr, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// admit serves an admission webhook that allows everything and counts.
func admit(t *testing.T, tlsConfig *tls.Config) (port string, served *atomic.Int64) {
	t.Helper()
	served = new(atomic.Int64)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Errorf("decode the review: %v", err)
			return
		}
		served.Add(1)
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Errorf("encode the review: %v", err)
		}
	}))
	// A handshake for every call; otherwise one connection hides the rotation.
	server.Config.SetKeepAlivesEnabled(false)
	listener := tls.NewListener(server.Listener, tlsConfig)
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, served
}

func webhooks(port string) (*registrationv1.MutatingWebhookConfiguration, *registrationv1.ValidatingWebhookConfiguration) {
	url := "https://localhost:" + port + "/"
	fail, none, timeout := registrationv1.Fail, registrationv1.SideEffectClassNone, int32(10)
	scope := registrationv1.NamespacedScope
	rules := []registrationv1.RuleWithOperations{{
		Operations: []registrationv1.OperationType{registrationv1.Create},
		Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}, Scope: &scope},
	}}
	meta := metav1.ObjectMeta{Name: "detnet-webhook"}
	return &registrationv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []registrationv1.MutatingWebhook{{
			Name: "mutate.detnet.dev", ClientConfig: registrationv1.WebhookClientConfig{URL: &url}, Rules: rules,
			FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout, AdmissionReviewVersions: []string{"v1"},
		}}}, &registrationv1.ValidatingWebhookConfiguration{ObjectMeta: meta, Webhooks: []registrationv1.ValidatingWebhook{{
			Name: "guard.detnet.dev", ClientConfig: registrationv1.WebhookClientConfig{URL: &url}, Rules: rules,
			FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout, AdmissionReviewVersions: []string{"v1"},
		}}}
}

func configMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Namespace: "default"}}
}

// Two replicas on one empty Secret, with no more than the stated permissions,
// then a certificate in its last third: the API server's calls succeed from
// the first ready moment on, through the replacement, each on a new handshake.
func TestSelfManagedWebhookRotatesWithoutAFailedCall(t *testing.T) {
	admin := apitest.Start(t).Config
	c, err := client.New(admin, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	managed := Config{Secret: key, DNSNames: []string{"localhost"}, Webhooks: "detnet-webhook", Spread: 10 * time.Second}

	aging := rotation{names: managed.DNSNames, validity: 90 * 24 * time.Hour, spread: managed.Spread}
	old, _, err := aging.advance(nil, inSecret, time.Now().Add(-61*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, permissions("webhook")...)
	apply(t, c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Data: old})

	limited := rest.CopyConfig(admin)
	limited.Impersonate.UserName = "webhook"
	first, second := replica(t, limited, managed), replica(t, limited, managed)
	port, served := admit(t, first.ServerConfig())
	mutating, validating := webhooks(port)
	apply(t, c, mutating, validating)

	await.Until(t, "both webhooks trust the certificate", func() bool {
		ctx := t.Context()
		return first.Ready(nil) == nil && second.Ready(nil) == nil &&
			c.Get(ctx, client.ObjectKeyFromObject(mutating), mutating) == nil && len(mutating.Webhooks[0].ClientConfig.CABundle) > 0 &&
			c.Get(ctx, client.ObjectKeyFromObject(validating), validating) == nil && len(validating.Webhooks[0].ClientConfig.CABundle) > 0 &&
			c.Create(ctx, configMap()) == nil // the API server's own copy of the configuration lags a little
	})
	replaced := func() bool {
		p, q := serving(first), serving(second)
		return p != nil && !bytes.Equal(p, old[certs.CertFile]) && bytes.Equal(p, q)
	}
	calls := 0
	await.Until(t, "both replicas serve the replacement", func() bool {
		calls++
		if err := c.Create(t.Context(), configMap()); err != nil {
			t.Fatalf("call %d: %v", calls, err)
		}
		return replaced()
	})
	for range 20 {
		if err := c.Create(t.Context(), configMap()); err != nil {
			t.Fatalf("after the replacement: %v", err)
		}
	}
	if n := served.Load(); n < int64(2*(calls+20)) {
		t.Errorf("the webhooks saw %d calls, want at least two for each of %d objects", n, calls+20)
	}
	var secret corev1.Secret
	if err := c.Get(t.Context(), key, &secret); err != nil {
		t.Fatal(err)
	}
	if len(secret.Data[nextCertFile]) != 0 {
		t.Error("the replacement is used and waits at the same time")
	}
}

// The chart ships the Secret empty, and an operator empties it after a leak. Both
// replicas find it so at once, and one certificate comes of it.
func TestSelfManagedFillsTheEmptySecretOnce(t *testing.T) {
	admin := apitest.Start(t).Config
	c, err := client.New(admin, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	managed := Config{Secret: key, DNSNames: []string{"detnet-agent"}}
	first, second := replica(t, admin, managed), replica(t, admin, managed)
	if first.Ready(nil) == nil {
		t.Error("ready without a certificate")
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	apply(t, c, secret)
	agree := func() bool {
		p := serving(first)
		return p != nil && bytes.Equal(p, serving(second))
	}
	await.Until(t, "both replicas have the same certificate", agree)
	if err := certstest.Handshake(t, first.MutualServerConfig(), second.MutualClientConfig("detnet-agent")); err != nil {
		t.Error(err)
	}

	if err := c.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	leaked := secret.Data
	secret.Data = nil
	if err := c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "both replicas have the same new certificate", func() bool {
		return !bytes.Equal(serving(first), leaked[certs.CertFile]) && agree()
	})
	if err := c.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	thief := new(certs.Current) // trusts the server; the server must not trust it
	if err := thief.Set(leaked[certs.CertFile], leaked[certs.KeyFile], secret.Data[certs.CAFile]); err != nil {
		t.Fatal(err)
	}
	if err := certstest.Handshake(t, first.MutualServerConfig(), thief.MutualClientConfig("detnet-agent")); err == nil {
		t.Error("the leaked certificate is still trusted")
	}
}

// Whom to trust is published without the key, and anew with each certificate.
func TestPublishesWhomToTrust(t *testing.T) {
	admin := apitest.Start(t).Config
	c, err := client.New(admin, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	public := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	apply(t, c, secret) // the ConfigMap is late
	s := replica(t, admin, Config{Secret: key, DNSNames: []string{"detnet-controller"}, Publish: true})
	await.Until(t, "there is a certificate without the ConfigMap", func() bool { return serving(s) != nil })
	apply(t, c, public)
	published := func() bool {
		return c.Get(t.Context(), key, public) == nil && len(public.Data) == 1 && bytes.HasPrefix([]byte(public.Data[certs.CAFile]), serving(s))
	}
	await.Until(t, "it is published", published)
	first := serving(s)
	if err := c.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data = nil
	if err := c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "so is the next one", func() bool { return !bytes.Equal(first, serving(s)) && published() })
}

// refused is a replica that may read a kind of object beside the Secret and not change it,
// on a certificate in its last third that the object, if it is a ConfigMap, names.
func refused(t *testing.T, managed Config, kind string) (c client.Client, aging []byte, s *Secret) {
	t.Helper()
	admin := apitest.Start(t).Config
	c, err := client.New(admin, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := rotation{names: managed.DNSNames, validity: 90 * 24 * time.Hour, spread: time.Minute}.advance(nil, inSecret, time.Now().Add(-61*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Namespace: managed.Secret.Namespace, Name: managed.Secret.Name}
	mutating, validating := webhooks("1")
	apply(t, c, &corev1.Secret{ObjectMeta: meta, Data: data}, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{certs.CAFile: string(data[certs.CAFile])}}, mutating, validating)

	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "limited"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "admissionregistration.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
	}}
	for _, resource := range []string{"secrets", "configmaps", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"} {
		if resource != kind {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{"", "admissionregistration.k8s.io"}, Resources: []string{resource}, Verbs: []string{"update"}})
		}
	}
	apply(t, c, role, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "limited"}, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "limited"}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
	})
	limited := rest.CopyConfig(admin)
	limited.Impersonate.UserName = "limited"
	return c, data[certs.CertFile], replica(t, limited, managed)
}

// A replica that may not write the ConfigMap goes on with the certificate that it names, and
// has the next one ready, announced to those who read the Secret.
func TestRotatesAsFarAsTheConfigMapKnows(t *testing.T) {
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	c, aging, s := refused(t, Config{Secret: key, DNSNames: []string{"detnet-controller"}, Publish: true}, "configmaps")
	await.Until(t, "the certificate that all trust is used", func() bool { return bytes.Equal(serving(s), aging) })
	var secret corev1.Secret
	await.Until(t, "the next one is announced", func() bool {
		return c.Get(t.Context(), key, &secret) == nil && len(secret.Data[nextCertFile]) > 0 && len(parseBundle(secret.Data[certs.CAFile])) == 2
	})
	if !bytes.Equal(secret.Data[certs.CertFile], aging) {
		t.Error("a certificate is to be used that the ConfigMap does not name")
	}

	// It is emptied, as after a leak: what nobody could be told of is not used.
	secret.Data = nil
	if err := c.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "there is a new one", func() bool {
		return c.Get(t.Context(), key, &secret) == nil && len(secret.Data[certs.CertFile]) > 0
	})
	if err := c.Update(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "limited"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch", "update"}},
	}}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "it is used once it may be told", func() bool {
		now, named := serving(s), new(corev1.ConfigMap)
		if bytes.Equal(now, aging) {
			return false
		}
		if err := c.Get(t.Context(), key, named); err != nil || !bytes.Contains([]byte(named.Data[certs.CAFile]), now) {
			t.Fatalf("used before the ConfigMap named it: %v", err)
		}
		return true
	})
}

// One configuration that can't be changed keeps no other from trusting the certificate.
func TestOneConfigurationKeepsNoOtherFromTrust(t *testing.T) {
	key := types.NamespacedName{Namespace: "default", Name: secretName}
	c, aging, s := refused(t, Config{Secret: key, DNSNames: []string{"localhost"}, Webhooks: "detnet-webhook"}, "mutatingwebhookconfigurations")
	await.Until(t, "the other trusts the certificate", func() bool {
		validating := new(registrationv1.ValidatingWebhookConfiguration)
		if err := c.Get(t.Context(), types.NamespacedName{Name: "detnet-webhook"}, validating); err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(validating.Webhooks[0].ClientConfig.CABundle, aging)
	})
	if s.Ready(nil) == nil {
		t.Error("ready though a configuration does not trust the certificate")
	}
}

// serving is the certificate in use as PEM, nil if there is none.
func serving(s *Secret) []byte {
	certificate, err := s.ServerConfig().GetCertificate(nil)
	if err != nil {
		return nil
	}
	return encodeCertificate(certificate.Leaf)
}
