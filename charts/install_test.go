package charts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/issuer"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/logtest"
)

// apiServer starts a real API server for the test and writes a kubeconfig.
func apiServer(t *testing.T) (cfg *rest.Config, kubeconfig string) {
	t.Helper()
	environment := apitest.Start(t)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, environment.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return environment.Config, kubeconfig
}

// manage runs a self-managed certificate as the chart's service account.
// It returns how to stop it.
func manage(t *testing.T, cfg *rest.Config, account string, config issuer.Config) (end func()) {
	t.Helper()
	limited := rest.CopyConfig(cfg)
	limited.Impersonate.UserName = "system:serviceaccount:" + namespace + ":" + account
	mgr, err := manager.New(limited, manager.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
		Logger:  logr.FromSlogHandler(logtest.Of(t).Handler()),
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := issuer.SelfManaged(mgr, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	end = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	await.Success(t, account+" has a certificate", func() error { return secret.Ready(nil) })
	return end
}

// The life of an install on a real API server: the objects are valid, the roles
// suffice for the certificates, an upgrade keeps them, uninstall leaves nothing.
func TestInstallUpgradeUninstall(t *testing.T) {
	cfg, kubeconfig := apiServer(t)
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		out, err := helm(t, append(args, "--kubeconfig", kubeconfig, "--namespace", namespace)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	before := everything(t, cfg)

	run("install", "detnet", "detnet")
	if after := everything(t, cfg); len(after) < len(before)+25 {
		t.Fatalf("install made %d objects", len(after)-len(before))
	}
	stopWebhook := manage(t, cfg, "detnet-webhook", issuer.Config{
		Secret:   types.NamespacedName{Namespace: namespace, Name: "detnet-webhook-tls"},
		DNSNames: []string{"detnet-webhook." + namespace + ".svc"},
		Webhooks: "detnet-webhook",
	})
	stopController := manage(t, cfg, "detnet-controller", issuer.Config{
		Secret:   types.NamespacedName{Namespace: namespace, Name: "detnet-agent-tls"},
		DNSNames: []string{"detnet-agent"},
	})
	stopOwn := manage(t, cfg, "detnet-controller", issuer.Config{
		Secret:   types.NamespacedName{Namespace: namespace, Name: "detnet-controller-tls"},
		DNSNames: []string{"detnet-controller"}, Publish: true,
	})
	certificates := issued(t, c)
	var public corev1.ConfigMap
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: "detnet-controller-tls"}, &public); err != nil || public.Data[certs.CAFile] == "" || len(public.Data) > 1 {
		t.Errorf("what agents need to trust the controller, and no more: %v, %v", public.Data, err)
	}

	run("upgrade", "detnet", "detnet", "--set", "logLevel=debug", "--set", "webhook.timeoutSeconds=5",
		"--set", "controller.config.rolloutEvery=5m", "--set", "controller.config.nodes.taintAfter=1m", "--set", "grafanaDashboard.enabled=true",
		"--set-file", "controller.staticTargets=../controller/targets/testdata/critical-apps.yaml")
	if kept := issued(t, c); !bytes.Equal(kept, certificates) {
		t.Error("the upgrade touched the certificates")
	}

	stopWebhook() // as their pods are
	stopController()
	stopOwn()
	run("uninstall", "detnet", "--no-hooks") // nobody runs the restoring Job here
	left := slices.DeleteFunc(everything(t, cfg), func(object string) bool {
		return slices.Contains(before, object) || !strings.Contains(object, "detnet")
	})
	if len(left) > 0 {
		t.Errorf("uninstall left behind:\n%s", strings.Join(left, "\n"))
	}
}

// issued is all that the managers of the certificates wrote.
func issued(t *testing.T, c client.Client) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"detnet-webhook-tls", "detnet-agent-tls", "detnet-controller-tls"} {
		var secret corev1.Secret
		if err := c.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, &secret); err != nil {
			t.Fatal(err)
		}
		if len(secret.Data[certs.CertFile]) == 0 {
			t.Fatalf("Secret %s is empty", name)
		}
		all = append(append(all, secret.Data[certs.CertFile]...), secret.Data[certs.KeyFile]...)
	}
	var webhooks admissionv1.MutatingWebhookConfiguration
	if err := c.Get(t.Context(), types.NamespacedName{Name: "detnet-webhook"}, &webhooks); err != nil {
		t.Fatal(err)
	}
	if len(webhooks.Webhooks[0].ClientConfig.CABundle) == 0 {
		t.Fatal("the webhook configuration trusts no certificate")
	}
	return append(all, webhooks.Webhooks[0].ClientConfig.CABundle...)
}

// everything lists the objects of the API server, but for events.
func everything(t *testing.T, cfg *rest.Config) []string {
	t.Helper()
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := d.ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, list := range resources {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || resource.Kind == "Event" {
				continue
			}
			objects := &metav1.PartialObjectMetadataList{}
			objects.SetGroupVersionKind(gv.WithKind(resource.Kind + "List"))
			if err := c.List(t.Context(), objects); err != nil {
				t.Fatalf("list %s: %v", resource.Name, err)
			}
			for _, object := range objects.Items {
				names = append(names, fmt.Sprintf("%s %s/%s", resource.Kind, object.Namespace, object.Name))
			}
		}
	}
	return names
}
