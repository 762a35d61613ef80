package charts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
)

// certManagerKinds are the kinds of cert-manager, which anybody may have applied.
func certManagerKinds() []*apiextensionsv1.CustomResourceDefinition {
	var all []*apiextensionsv1.CustomResourceDefinition
	open := true
	for kind, plural := range map[string]string{"Issuer": "issuers", "Certificate": "certificates"} {
		all = append(all, &apiextensionsv1.CustomResourceDefinition{
			ObjectMeta: metav1.ObjectMeta{Name: plural + ".cert-manager.io"},
			Spec: apiextensionsv1.CustomResourceDefinitionSpec{
				Group: "cert-manager.io", Scope: apiextensionsv1.NamespaceScoped,
				Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: kind, Plural: plural, Singular: strings.ToLower(kind), ListKind: kind + "List"},
				Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
					Name: "v1", Served: true, Storage: true,
					Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &open}},
				}},
			},
		})
	}
	return all
}

// answering is what a cert-manager that runs leaves to see.
func answering() []client.Object {
	none, ready := admissionv1.SideEffectClassNone, true
	port := int32(443)
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "cert-manager"}},
		&admissionv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "cert-manager-webhook"},
			Webhooks: []admissionv1.ValidatingWebhook{{
				Name: "webhook.cert-manager.io", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
				ClientConfig: admissionv1.WebhookClientConfig{
					Service:  &admissionv1.ServiceReference{Namespace: "cert-manager", Name: "cert-manager-webhook"},
					CABundle: []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
				},
			}},
		},
		&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "cert-manager", Name: "cert-manager-webhook-x", Labels: map[string]string{discoveryv1.LabelServiceName: "cert-manager-webhook"}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		},
	}
}

// installation is a release on a real API server.
type installation struct {
	t          *testing.T
	c          client.Client
	cfg        *rest.Config
	kubeconfig string
}

func newInstallation(t *testing.T) installation {
	t.Helper()
	cfg, kubeconfig := apiServer(t)
	c, err := client.New(cfg, client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	i := installation{t, c, cfg, kubeconfig}
	i.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	return i
}

func (i installation) create(objects ...client.Object) {
	i.t.Helper()
	for _, object := range objects {
		if err := i.c.Create(i.t.Context(), object); err != nil {
			i.t.Fatalf("create %T %s: %v", object, object.GetName(), err)
		}
	}
}

func (i installation) helm(args ...string) string {
	i.t.Helper()
	out, err := helm(i.t, append(args, "--kubeconfig", i.kubeconfig, "--namespace", namespace)...)
	if err != nil {
		i.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// certificates are the Secrets that detnet's programs issue into.
var certificates = []string{"detnet-webhook-tls", "detnet-agent-tls", "detnet-controller-tls"}

// issuer is who issues by what is installed, with the Secrets as they are.
func (i installation) issuer() (string, map[string]types.UID) {
	i.t.Helper()
	var d appsv1.Deployment
	if err := i.c.Get(i.t.Context(), client.ObjectKey{Namespace: namespace, Name: "detnet-webhook"}, &d); err != nil {
		i.t.Fatal(err)
	}
	secrets := map[string]types.UID{}
	for _, name := range certificates {
		var s corev1.Secret
		if err := i.c.Get(i.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
			i.t.Fatal(err)
		}
		secrets[name] = s.UID
	}
	return d.Annotations["detnet.dev/certificates"], secrets
}

// auto is decided once, by a cert-manager that answers, and kept; a change is
// asked for, and in both directions the Secrets stay as they are.
func TestWhoIssuesIsKept(t *testing.T) {
	i := newInstallation(t)
	is := func(step, want string, same map[string]types.UID) map[string]types.UID {
		t.Helper()
		issuer, secrets := i.issuer()
		if issuer != want {
			t.Errorf("%s: %s issues, want %s", step, issuer, want)
		}
		if same != nil && !cmp.Equal(secrets, same) {
			t.Errorf("%s: the Secrets were replaced", step)
		}
		return secrets
	}
	i.helm("install", "detnet", "detnet")
	secrets := is("nothing of cert-manager", "self", nil)
	apitest.Install(t, i.cfg, certManagerKinds()...)
	i.helm("upgrade", "detnet", "detnet", "--set", "logLevel=debug")
	is("its kinds alone", "self", secrets)
	i.create(answering()...)
	i.helm("upgrade", "detnet", "detnet")
	is("it answers, but self is installed", "self", secrets)
	i.helm("upgrade", "detnet", "detnet", "--set", "certificates.mode=cert-manager")
	is("asked for", "cert-manager", secrets)
	i.helm("upgrade", "detnet", "detnet", "--reset-values")
	is("auto again", "cert-manager", secrets)
	// As cert-manager leaves it: filled.
	secret := &corev1.Secret{}
	if err := i.c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "detnet-webhook-tls"}, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y"), "ca.crt": []byte("z")}
	if err := i.c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	i.helm("upgrade", "detnet", "detnet", "--set", "certificates.mode=self")
	is("and back", "self", secrets)
	if err := i.c.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || string(secret.Data["tls.crt"]) != "x" {
		t.Errorf("what cert-manager issued is gone: %v", err)
	}
	i.helm("uninstall", "detnet", "--no-hooks")
	i.helm("install", "detnet", "detnet")
	is("a new install where it answers", "cert-manager", nil)
	i.helm("uninstall", "detnet", "--no-hooks")
	var left corev1.SecretList
	if err := i.c.List(t.Context(), &left, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, s := range left.Items {
		t.Errorf("uninstall left Secret %s", s.Name)
	}
}

// as is a client with a program's rights.
func (i installation) as(account string) client.Client {
	i.t.Helper()
	limited := rest.CopyConfig(i.cfg)
	limited.Impersonate.UserName = "system:serviceaccount:" + namespace + ":" + account
	c, err := client.New(limited, client.Options{})
	if err != nil {
		i.t.Fatal(err)
	}
	return c
}

// What a program needs to live it may make again, and nothing else of that kind.
func TestProgramsMakeAgainWhatTheyNeed(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", "detnet", "detnet")
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "detnet-controller"}}
	if err := i.c.Delete(t.Context(), lease.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if err := i.as("detnet-controller").Create(t.Context(), lease); err != nil {
		t.Errorf("the controller can't make its Lease: %v", err)
	}
	secret := func(name string, kind corev1.SecretType) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: kind}
		if kind == corev1.SecretTypeServiceAccountToken {
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "detnet-controller"}
		}
		return s
	}
	for _, name := range certificates {
		account := "detnet-controller"
		if name == "detnet-webhook-tls" {
			account = "detnet-webhook"
		}
		if err := i.c.Delete(t.Context(), secret(name, "")); err != nil {
			t.Fatal(err)
		}
		refused := func(s *corev1.Secret) func() bool {
			return func() bool {
				err := i.as(account).Create(t.Context(), s.DeepCopy(), client.DryRunAll)
				if err != nil && !apierrors.IsForbidden(err) {
					t.Fatal(err)
				}
				return err != nil
			}
		}
		await.Until(t, account+" may not make another Secret", refused(secret("another", corev1.SecretTypeOpaque)))
		await.Until(t, account+" may not make a token of another account", refused(secret(name, corev1.SecretTypeServiceAccountToken)))
		if err := i.as(account).Create(t.Context(), secret(name, corev1.SecretTypeOpaque)); err != nil {
			t.Errorf("%s can't make its Secret: %v", account, err)
		}
	}
	i.helm("upgrade", "detnet", "detnet") // which takes over what the programs made
}

// The hooks are there for helm, and objects without a namespace belong to
// detnet's: deleted, it takes them along.
func TestReleaseHasHooksAndAnOwner(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", "detnet", "detnet")
	hooks := i.helm("get", "hooks", "detnet")
	for _, part := range []string{"kind: Job", "name: detnet-restore", "--secrets-of=" + namespace, "--trial-namespace=default", "helm.sh/hook: test"} {
		if !strings.Contains(hooks, part) {
			t.Errorf("the hooks lack %q", part)
		}
	}
	var ns corev1.Namespace
	if err := i.c.Get(t.Context(), client.ObjectKey{Name: namespace}, &ns); err != nil {
		t.Fatal(err)
	}
	for _, object := range []client.Object{
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"}},
		&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "detnet-guard"}},
		&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "detnet-secrets"}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "detnet-controller"}},
	} {
		if err := i.c.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if owners := object.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != ns.UID {
			t.Errorf("%T: owners %v", object, owners)
		}
	}
}
