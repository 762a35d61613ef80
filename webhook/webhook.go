// Package webhook is the admission shell around the policies: it decodes an
// AdmissionReview, gathers what the decision depends on, asks the policy, turns
// the decision into a JSON patch. Nothing comes of a review but the answer: the
// decision's Cilium policies are made by the controller, once the pod exists.
// It fails open: what could not be evaluated is admitted unstamped, with
// a warning to the client.
package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/policies"
)

// Decider decides; policies.Engine and live.Active do.
type Decider interface {
	Decide(ctx context.Context, in policies.Input) (policies.Decision, error)
}

// Cluster is what the webhook knows of the cluster without asking it for each
// pod. Lookup answers from memory where it can.
type Cluster interface {
	Namespace(ctx context.Context, name string) (policies.Namespace, error)
	Siblings(ctx context.Context, namespace string, pod *corev1.Pod) ([]policies.Sibling, error)
	// Priorities returns the class called name, nil where there is none, and
	// the name of the globalDefault class, "" where there is none.
	Priorities(ctx context.Context, name string) (Priorities, error)
}

// Mutator is the handler of the mutating webhook.
type Mutator struct {
	Decider Decider
	Cluster Cluster
	Metrics *Metrics
	Log     *slog.Logger
}

// ServeHTTP answers an AdmissionReview (admission.k8s.io/v1).
func (m *Mutator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serveReview(w, r, m.Metrics, m.Log, m.admit)
}

// podResource is the only resource that is mutated, and only without a
// subresource.
var podResource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}

func (m *Mutator) admit(ctx context.Context, req *request) *admissionv1.AdmissionResponse {
	if req.Operation != admissionv1.Create || req.Resource != podResource || req.SubResource != "" {
		m.Metrics.request(resultUnchanged)
		return allowed()
	}
	start := time.Now()
	response, err := m.stamp(ctx, req)
	m.Metrics.duration.Observe(time.Since(start).Seconds())
	if err != nil {
		m.Log.ErrorContext(ctx, "pod admitted without a decision", "namespace", req.Namespace, "uid", req.UID, "error", err)
		m.Metrics.request(resultUnevaluated)
		m.Metrics.problem(reasonOf(err))
		return allowed("detnet could not evaluate its policy; the pod is admitted unstamped: " + err.Error())
	}
	return response
}

// stamp decides and patches. An error means that nothing was decided.
func (m *Mutator) stamp(ctx context.Context, req *request) (*admissionv1.AdmissionResponse, error) {
	pod, err := podOf(req.Object)
	if err != nil {
		return nil, err
	}
	in, err := m.input(ctx, req, pod)
	if err != nil {
		return nil, err
	}
	decision, err := m.Decider.Decide(ctx, in)
	if err != nil {
		return nil, err
	}
	m.Metrics.decision(decision)
	if len(decision.Deny) > 0 {
		m.Metrics.request(resultDenied)
		return denied(decision), nil
	}
	priorities, err := m.Cluster.Priorities(ctx, decision.PriorityClassName)
	if err != nil {
		return nil, fmt.Errorf("look up PriorityClass %q: %w", decision.PriorityClassName, err)
	}
	ops, warnings := Patch(pod, decision, priorities)
	for _, w := range warnings {
		m.Metrics.problem(w.Reason)
	}
	return m.respond(ops, decision, warnings)
}

// input gathers what the decision depends on.
func (m *Mutator) input(ctx context.Context, req *request, pod *corev1.Pod) (policies.Input, error) {
	namespace, err := m.Cluster.Namespace(ctx, req.Namespace)
	if err != nil {
		return policies.Input{}, fmt.Errorf("look up namespace %q: %w", req.Namespace, err)
	}
	siblings, err := m.Cluster.Siblings(ctx, req.Namespace, pod)
	if err != nil {
		return policies.Input{}, fmt.Errorf("look up the workload's running pods: %w", err)
	}
	return policies.Input{
		Pod:       req.Object,
		Namespace: namespace,
		User:      policies.User{Name: req.UserInfo.Username, Groups: req.UserInfo.Groups},
		Operation: string(req.Operation),
		DryRun:    req.DryRun,
		Siblings:  siblings,
	}, nil
}

func (m *Mutator) respond(ops []jsonpatch.Operation, d policies.Decision, warnings []Warning) (*admissionv1.AdmissionResponse, error) {
	messages := d.Warn()
	for _, w := range warnings {
		messages = append(messages, w.Message)
	}
	response := allowed(messages...)
	if len(ops) == 0 {
		m.Metrics.request(resultUnchanged)
		return response, nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	response.Patch, response.PatchType = patch, &kind
	m.Metrics.request(resultStamped)
	return response, nil
}
