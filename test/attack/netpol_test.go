package attack

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/controller/netpol"
	"github.com/detnet/detnet/test/attack/selfsigned"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
	"github.com/detnet/detnet/workload/signature"
)

func TestNetworkPolicies(t *testing.T) {
	w := police(t)
	for _, step := range []struct {
		name string
		run  func(*policed)
	}{
		{"a forged review makes no policy anywhere", (*policed).forgedReview},
		{"the webhook answers whom it should", (*policed).asked},
		{"a label and a port open no closed namespace", (*policed).closedNamespace},
		{"a policy of detnet's name is not overwritten", (*policed).takenName},
		{"the webhook's account may not write policies", (*policed).account},
		{"callers without a certificate are refused where one is asked for", (*policed).clientCertificate},
		{"what is in force stays while the webhook is away", (*policed).webhookAway},
	} {
		t.Run(step.name, func(t *testing.T) {
			w.t = t
			step.run(w)
		})
	}
	w.t = t
}

// forgedReview sends reviews of pods that do not exist, as any pod can that
// reaches the webhook.
func (w *policed) forgedReview() {
	h := hook.Hook{Client: w.admin, Name: "detnet-webhook"}
	entry, err := h.Find(w.t.Context())
	w.must(err)
	endpoint, err := h.Reach(w.t.Context(), entry)
	w.must(err)
	defer endpoint.Close()
	for _, namespace := range []string{"kube-system", "detnet", "tenant", "nowhere"} {
		_, review, err := hook.ReviewOf(upload(namespace))
		w.must(err)
		if _, _, err := endpoint.Post(w.t.Context(), "/mutate", nil, review); err != nil {
			w.t.Errorf("%s: %v", namespace, err)
		}
		for what, header := range map[string]http.Header{"nothing": nil, "a token of one's own": {"Authorization": {"Bearer x"}}} {
			status, answer, err := endpoint.Post(w.t.Context(), ask.Path, header, review)
			if err != nil || status != http.StatusUnauthorized || strings.Contains(string(answer), "endpointSelector") {
				w.t.Errorf("%s, with %s: %d %q, %v", namespace, what, status, answer, err)
			}
		}
	}
	// A pod that exists gets its policy, and it is the only one.
	_, err = w.admin.CoreV1().Pods("factory").Create(w.t.Context(), upload("factory"), metav1.CreateOptions{})
	w.must(err)
	w.eventually("the policy of a pod that exists", func() bool { return len(w.made("factory")) > 0 })
	if all := w.made(""); len(all) != 1 {
		w.t.Errorf("there are %d policies, want one: %v", len(all), all)
	}
}

// asked asks about the pod as the controller does.
func (w *policed) asked() {
	right := func(what string, a *netpol.Webhook) {
		w.t.Helper()
		answer, err := a.Ask(w.t.Context(), "factory", "upload")
		if err != nil || answer.Class != "best-effort" || len(answer.Policies) != 1 || !answer.Policies[0].Yields || !strings.Contains(string(answer.Policies[0].Spec), `"80"`) {
			w.t.Errorf("%s: %+v, %v", what, answer, err)
		}
	}
	refused := func(what, why string, key signature.Key) {
		w.t.Helper()
		if answer, err := w.asker(key).Ask(w.t.Context(), "factory", "upload"); err == nil || !strings.Contains(err.Error(), why) || len(answer.Policies) > 0 {
			w.t.Errorf("%s: %+v, %v; want %q", what, answer, err, why)
		}
	}
	defer w.keys.Store(w.keys.Load())
	right("with the key", w.asker(firstKey))
	refused("with another key", "401", secondKey)
	refused("without a key", "not known yet", nil)
	if _, err := w.asker(firstKey).Ask(w.t.Context(), "kube-system", "upload"); !errors.Is(err, netpol.ErrExempt) {
		w.t.Errorf("an exempt namespace: %v", err)
	}
	// A controller that has not seen a rotation yet is answered, until the next one.
	follows := w.asker(firstKey)
	key := firstKey
	follows.Key = func() []byte { return key }
	w.keys.Store(&signature.Keys{Current: secondKey, Previous: firstKey})
	right("with the previous key", follows)
	key = secondKey
	right("with the new key, over the connection of before", follows)
	w.keys.Store(&signature.Keys{Current: thirdKey, Previous: secondKey})
	refused("with the key before the previous one", "401", firstKey)
	w.keys.Store(&signature.Keys{})
	refused("while the webhook has no key", "401", firstKey)
}

// closedNamespace has a tenant create a pod in a namespace that its owner closed.
func (w *policed) closedNamespace() {
	_, err := w.admin.NetworkingV1().NetworkPolicies("tenant").Create(w.t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "default-deny"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}},
	}, metav1.CreateOptions{})
	w.must(err)
	tenant := editor(w.t, w.config, w.admin, "tenant")
	_, err = tenant.CoreV1().Pods("tenant").Create(w.t.Context(), upload("tenant"), metav1.CreateOptions{})
	w.must(err)
	w.eventually("the policy is held back", func() bool { return w.figure("held_back") == 1 && w.heard("NetworkPolicyHeldBack")() })
	// Informers of two kinds have no order: what one let through for a moment must be gone.
	w.eventually("nothing is open", func() bool { return len(w.made("tenant")) == 0 })
}

// takenName has somebody make a policy before detnet, under the name of detnet's.
func (w *policed) takenName() {
	name := w.made("factory")[0].GetName()
	theirs := &unstructured.Unstructured{}
	w.must(yaml.Unmarshal([]byte(`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: `+name+`}, spec: {endpointSelector: {matchLabels: {app: other}}, enableDefaultDeny: {ingress: false}, ingress: [{fromEntities: [host]}]}}`), &theirs.Object))
	client := w.dynamic.Resource(ciliumPolicies).Namespace("squatter")
	before, err := client.Create(w.t.Context(), theirs, metav1.CreateOptions{})
	w.must(err)
	_, err = w.admin.CoreV1().Pods("squatter").Create(w.t.Context(), upload("squatter"), metav1.CreateOptions{})
	w.must(err)
	w.eventually("it is said", w.heard("squatter/"+name+": there is one of that name that detnet did not make"))
	after, err := client.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil || after.GetResourceVersion() != before.GetResourceVersion() {
		w.t.Errorf("it was changed: %v", err)
	}
}

// clientCertificate has the webhook ask for one, as with webhook.clientCA.
func (w *policed) clientCertificate() {
	open := w.serving.Load()
	defer w.serving.Store(open)
	ours := selfsigned.Certificate("detnet-agent")
	file := filepath.Join(w.t.TempDir(), "ca.crt")
	w.must(os.WriteFile(file, pemOf(ours), 0o600))
	w.serving.Store(certs.Callers{Files: []string{file}, Names: []string{"detnet-agent"}}.Require(open))
	ask := func(certificate *tls.Certificate) error {
		a := w.asker(firstKey)
		if certificate != nil {
			a.Hook.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
		}
		_, err := a.Ask(w.t.Context(), "factory", "upload")
		return err
	}
	if err := ask(nil); err == nil {
		w.t.Error("answered without a certificate")
	}
	other := selfsigned.Certificate("detnet-agent")
	if err := ask(&other); err == nil {
		w.t.Error("answered to a certificate of another authority")
	}
	if err := ask(&ours); err != nil {
		w.t.Errorf("with the controller's certificate: %v", err)
	}
}

// webhookAway ends the webhook and has a pod created that it would be asked about.
func (w *policed) webhookAway() {
	before := w.made("factory")[0]
	w.away()
	if _, err := w.asker(firstKey).Ask(w.t.Context(), "factory", "upload"); err == nil {
		w.t.Error("nobody answers, and that is no error")
	}
	failed := w.figure("failed")
	another := upload("factory")
	another.Name, another.Labels["app"], another.Labels[workload.LabelClass] = "other", "other", "best-effort"
	_, err := w.admin.CoreV1().Pods("factory").Create(w.t.Context(), another, metav1.CreateOptions{})
	w.must(err)
	w.eventually("it is counted", func() bool { return w.figure("failed") > failed })
	if now := w.made("factory"); len(now) != 1 || now[0].GetUID() != before.GetUID() || now[0].GetResourceVersion() != before.GetResourceVersion() {
		w.t.Errorf("what is in force changed: %v", now)
	}
}
