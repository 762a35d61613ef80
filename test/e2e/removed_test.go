package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox/pki"
	"github.com/detnet/detnet/test/stage"
	"github.com/detnet/detnet/workload"
)

// metricsForSome: with metrics.clientCA the agents and the controller show their
// metrics to who holds a certificate of that authority, and to nobody else, and the
// tools go on.
func (w *world) metricsForSome(t *testing.T) {
	ctx := t.Context()
	authority, err := pki.NewAuthority("scrapers", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, authority.Cert(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := install.Chart(ctx, w.Cluster, nil, "--set", "agent.enforce=tc", "--set-file", "metrics.clientCA="+file); err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(pki.Subject{Name: "prometheus"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := w.Client.CoreV1().Secrets(install.Namespace).Get(ctx, "detnet-agent-tls", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	servers := x509.NewCertPool()
	servers.AppendCertsFromPEM(secret.Data["ca.crt"])
	known := &tls.Config{RootCAs: servers, ServerName: "detnet-agent", Certificates: []tls.Certificate{ours}}
	stranger := &tls.Config{RootCAs: servers, ServerName: "detnet-agent"}
	for component, port := range map[string]string{"agent-node": "9448", "agent-probe": "8080", "controller": "8080"} {
		pods, err := w.Client.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component})
		if err != nil || len(pods.Items) == 0 {
			t.Fatalf("%d pods of %s, %v", len(pods.Items), component, err)
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil {
				continue
			}
			stage.Eventually(t, pod.Name+" is scraped", func() error { return w.scrape(ctx, pod, port, known) })
			if err := w.scrape(ctx, pod, port, stranger); err == nil {
				t.Errorf("%s shows its metrics to somebody without a certificate", pod.Name)
			}
			if err := w.scrape(ctx, pod, port, nil); err == nil {
				t.Errorf("%s shows its metrics in plain text", pod.Name)
			}
		}
	}
	if out, err := w.Cluster.Helm(ctx, "test", "detnet", "--namespace", install.Namespace, "--logs", "--timeout", "1m"); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

// scrape asks a pod for its metrics, from its own node.
func (w *world) scrape(ctx context.Context, pod corev1.Pod, port string, config *tls.Config) error {
	scheme := "https"
	if config == nil {
		scheme = "http"
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: config, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return w.Cluster.DialFrom(ctx, pod.Spec.NodeName, network, addr)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(pod.Status.PodIP, port)+"/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || !strings.Contains(body.String(), "detnet_") {
		return fmt.Errorf("%s: %s", request.URL, answer.Status)
	}
	return nil
}

// namespaceGone: kubectl delete namespace is no uninstall, and all the same nothing
// stays that limits pods or stands in anybody's way.
func (w *world) namespaceGone(t *testing.T) {
	ctx := t.Context()
	if err := install.Detnet(ctx, w.Cluster, nil); err != nil {
		t.Fatal(err)
	}
	limited, err := w.Client.CoreV1().Pods("default").Create(ctx, simplePod("limited", "best-effort", nil), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if limited.Annotations[workload.AnnotationEgressBandwidth] == "" {
		t.Fatalf("not stamped: %v", limited.Annotations)
	}
	stage.Eventually(t, "the limit is in force", func() error {
		if links, err := w.limiters(ctx); err != nil || links == "" {
			return fmt.Errorf("no limiter on any node: %w", err)
		}
		return nil
	})
	if err := w.Client.CoreV1().Namespaces().Delete(ctx, install.Namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stage.Eventually(t, "the namespace is gone, with what has none", func() error {
		if _, err := w.Client.CoreV1().Namespaces().Get(ctx, install.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("namespace: %w", err)
		}
		for _, kind := range []string{"mutatingwebhookconfigurations", "validatingadmissionpolicies", "clusterroles", "priorityclasses"} {
			left, err := w.Cluster.Kubectl(ctx, "get", kind, "-l", "app.kubernetes.io/name=detnet", "-o", "name")
			if err != nil || strings.TrimSpace(left) != "" {
				return fmt.Errorf("%s are left: %s, %w", kind, left, err)
			}
		}
		return nil
	})
	stage.Eventually(t, "no qdisc of ours is left on the nodes", func() error {
		links, err := w.limiters(ctx)
		if err == nil && links != "" {
			err = fmt.Errorf("left: %s", links)
		}
		return err
	})
	w.tenantGoesOn(t, limited)
}

// limiters are detnet's interfaces on the nodes.
func (w *world) limiters(ctx context.Context) (all string, err error) {
	for _, node := range w.Cluster.Nodes() {
		links, err := w.Cluster.Exec(ctx, node, "ip", "-o", "link", "show", "type", "ifb")
		if err != nil {
			return "", err
		}
		all += strings.TrimSpace(links)
	}
	return all, nil
}

// tenantGoesOn: whoever may edit a namespace makes, changes and deletes pods there.
func (w *world) tenantGoesOn(t *testing.T, limited *corev1.Pod) {
	t.Helper()
	ctx := t.Context()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tenant"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "tenant"}},
	}
	if _, err := w.Client.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := w.Cluster.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: "tenant"}
	pods := kubernetes.NewForConfigOrDie(config).CoreV1().Pods("default")
	stage.Eventually(t, "a tenant takes the limit off their pod", func() error {
		now, err := pods.Get(ctx, limited.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.UID != limited.UID || now.Status.Phase != corev1.PodRunning || now.Status.ContainerStatuses[0].RestartCount > 0 {
			return fmt.Errorf("the pod did not go on: %v", now.Status)
		}
		delete(now.Annotations, workload.AnnotationEgressBandwidth)
		_, err = pods.Update(ctx, now, metav1.UpdateOptions{})
		return err
	})
	made, err := pods.Create(ctx, simplePod("another", "best-effort", nil), metav1.CreateOptions{})
	if err != nil || made.Annotations[workload.AnnotationEgressBandwidth] != "" {
		t.Errorf("a new pod: %v, stamped with %v", err, made.Annotations)
	}
	if err := pods.Delete(ctx, limited.Name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}
