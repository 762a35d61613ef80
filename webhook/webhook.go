// Package webhook is the admission shell around the policies: it decodes an
// AdmissionReview, gathers what the decision depends on, asks the policy and
// turns the decision into a JSON patch. It has no side effect: whoever reaches
// it can ask, and changes nothing. What could not be evaluated is admitted
// without any stamp, its own claims among them, with a warning to the client;
// or refused, where that is asked for.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
	"github.com/detnet/detnet/workload/signature"
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
	// Mode is the cluster's, which a namespace may only tighten; "" is Enforce.
	Mode workload.ControlMode
	// Keys returns those to sign with. Nil, or no key: stamps go unsigned.
	Keys func() signature.Keys
	// Exempt reports whether a namespace is left alone. Nil: none is.
	Exempt func(namespace string) bool
	// FailClosed refuses a pod that could not be evaluated. It goes with the
	// failurePolicy Fail.
	FailClosed bool

	unsigned atomic.Bool // it has been said that there is no key
}

// ServeHTTP answers an AdmissionReview (admission.k8s.io/v1).
func (m *Mutator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serveReview(w, r, m.Metrics, m.Log, m)
}

// podResource is the only resource that is mutated, and only without a
// subresource.
var podResource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}

func (m *Mutator) admit(ctx context.Context, req *request) *admissionv1.AdmissionResponse {
	if !concerns(req) {
		m.Metrics.request(resultUnchanged)
		return allowed()
	}
	if m.Exempt != nil && m.Exempt(req.Namespace) {
		// The selectors keep such pods away: this call came from somewhere else.
		m.Log.WarnContext(ctx, "asked about a namespace that is left alone", "namespace", req.Namespace)
		m.Metrics.request(resultExempt)
		return allowed()
	}
	start := time.Now()
	response, err := m.stamp(ctx, req)
	m.Metrics.duration.Observe(time.Since(start).Seconds())
	if err != nil {
		m.Log.ErrorContext(ctx, "no decision about a pod", "namespace", req.Namespace, "uid", req.UID, "refused", m.FailClosed, "err", err)
		m.Metrics.request(resultUnevaluated)
		m.Metrics.problem(reasonOf(err))
		return m.undecided(ctx, req, "detnet could not evaluate its policy: "+err.Error())
	}
	return response
}

func concerns(req *request) bool {
	return req.Operation == admissionv1.Create && req.Resource == podResource && req.SubResource == ""
}

// undecided admits the pod without what only a decision gives, or refuses it.
func (m *Mutator) undecided(_ context.Context, req *request, why string) *admissionv1.AdmissionResponse {
	if m.FailClosed {
		return failed(why)
	}
	response := allowed(why + "; the pod is admitted unstamped")
	response.AuditAnnotations = map[string]string{ask.Undecided: headerText(why)}
	if !concerns(req) {
		return response
	}
	pod, err := strippable(req.Object)
	if err != nil {
		return response // it has no labels and annotations that could be read by anybody
	}
	if err := withPatch(response, strip(pod)); err != nil {
		return failed(why + "; and its stamps could not be removed: " + err.Error())
	}
	return response
}

// stamp decides and patches. An error means that nothing was decided.
func (m *Mutator) stamp(ctx context.Context, req *request) (*admissionv1.AdmissionResponse, error) {
	pod, err := podOf(req.Object)
	if err != nil {
		return nil, err
	}
	if msgs := validation.IsDNS1123Label(req.Namespace); len(msgs) > 0 {
		return nil, fmt.Errorf("%w: namespace %q: %s", policies.ErrInput, req.Namespace, msgs[0])
	}
	namespace, err := m.Cluster.Namespace(ctx, req.Namespace)
	if err != nil {
		return nil, fmt.Errorf("look up namespace %q: %w", req.Namespace, err)
	}
	mode, modeErr := workload.NamespaceMode(namespace.Labels, namespace.Annotations)
	mode = mode.And(m.Mode)
	var warnings []Warning
	if modeErr != nil {
		warnings = append(warnings, Warning{reasonAnnotation, fmt.Sprintf("namespace %s: %v; it counts as %s", namespace.Name, modeErr, mode)})
	}
	if mode == workload.Off {
		ops, _ := Patch(pod, policies.Decision{}, Setting{Mode: mode})
		return m.respond(ops, policies.Decision{}, warnings)
	}
	decision, err := m.decide(ctx, req, pod, namespace)
	if err != nil {
		return nil, err
	}
	m.Metrics.decision(decision)
	if len(decision.Deny) > 0 {
		if mode == workload.Enforce {
			m.Metrics.request(resultDenied)
			return denied(decision), nil
		}
		warnings = append(warnings, Warning{reasonObserved, "detnet only observes here; it would refuse the pod: " + strings.Join(decision.Deny, "; ")})
	}
	priorities, err := m.Cluster.Priorities(ctx, decision.PriorityClassName)
	if err != nil { // the pod gets none, and is told so
		m.Log.WarnContext(ctx, "PriorityClass not looked up", "name", decision.PriorityClassName, "err", err)
		m.Metrics.problem(reasonCluster)
	}
	ops, more := Patch(pod, decision, Setting{Priorities: priorities, Mode: mode, Sign: m.signer(ctx, req.Namespace)})
	for _, w := range more {
		m.Metrics.problem(w.Reason)
	}
	return m.respond(ops, decision, append(warnings, more...))
}

// decide asks the policy, with what the decision depends on. Siblings that
// can't be looked up are none: the pod then begins at its class's limit.
func (m *Mutator) decide(ctx context.Context, req *request, pod *corev1.Pod, namespace policies.Namespace) (policies.Decision, error) {
	siblings, err := m.Cluster.Siblings(ctx, req.Namespace, pod)
	if err != nil {
		m.Log.WarnContext(ctx, "the workload's running pods were not looked up", "namespace", req.Namespace, "err", err)
		m.Metrics.problem(reasonCluster)
	}
	watch := startWatch()
	decision, err := m.Decider.Decide(ctx, policies.Input{
		Pod:       req.Object,
		Namespace: namespace,
		User:      policies.User{Name: req.UserInfo.Username, Groups: req.UserInfo.Groups},
		Operation: string(req.Operation),
		DryRun:    req.DryRun,
		Siblings:  siblings,
	})
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		err = watch.explain(err)
	}
	return decision, err
}

// signer signs the stamps of a pod of the namespace, if there is a key.
func (m *Mutator) signer(ctx context.Context, namespace string) func(labels, annotations map[string]string) string {
	return func(labels, annotations map[string]string) string {
		var keys signature.Keys
		if m.Keys != nil {
			keys = m.Keys()
		}
		if !keys.CanSign() {
			m.Metrics.problem(reasonUnsigned)
			if !m.unsigned.Swap(true) {
				m.Log.WarnContext(ctx, "stamps are not signed: there is no key yet, and the controller will not act on them until it had the pods signed", "secret", signature.SecretName)
			}
			return ""
		}
		m.unsigned.Store(false)
		return signature.Sign(keys.Current, namespace, labels, annotations)
	}
}

func (m *Mutator) respond(ops []jsonpatch.Operation, d policies.Decision, warnings []Warning) (*admissionv1.AdmissionResponse, error) {
	messages := d.Warn()
	for _, w := range warnings {
		messages = append(messages, w.Message)
	}
	response := allowed(messages...)
	if err := withPatch(response, ops); err != nil {
		return nil, err
	}
	if len(ops) == 0 {
		m.Metrics.request(resultUnchanged)
	} else {
		m.Metrics.request(resultStamped)
	}
	return response, nil
}

func withPatch(response *admissionv1.AdmissionResponse, ops []jsonpatch.Operation) error {
	if len(ops) == 0 {
		return nil
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	response.Patch, response.PatchType = patch, &kind
	return nil
}
