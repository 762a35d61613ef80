package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// guardedLabels are the labels that may not be changed on a live pod.
var guardedLabels = append(slices.Clone(workload.ManagedLabels), workload.LabelPriority)

// Guard is the handler of the validating webhook: on a live pod only the
// trusted change what detnet manages, so that nobody lifts their own throttle.
// It is for clusters without ValidatingAdmissionPolicy; GuardPolicy is the same
// rule without a call.
type Guard struct {
	Trusted Trusted
	Access  Access
	Metrics *Metrics
	Log     *slog.Logger
}

// ServeHTTP answers an AdmissionReview (admission.k8s.io/v1).
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serveReview(w, r, g.Metrics, g.Log, g)
}

func (g *Guard) admit(ctx context.Context, req *request) *admissionv1.AdmissionResponse {
	if req.Operation != admissionv1.Update || req.Resource != podResource || g.Trusted.includes(req.UserInfo.Username, req.UserInfo.Groups) {
		g.Metrics.request(resultUnchanged)
		return allowed()
	}
	changed, err := changedKeys(req.OldObject, req.Object)
	if err != nil {
		g.Log.ErrorContext(ctx, "pod update not guarded", "namespace", req.Namespace, "name", req.Name, "err", err)
		g.Metrics.request(resultUnevaluated)
		g.Metrics.problem(reasonPod)
		return allowed("detnet could not check this update: " + err.Error())
	}
	if len(changed) == 0 {
		g.Metrics.request(resultUnchanged)
		return allowed()
	}
	refusal := g.Trusted.refusal(strings.Join(changed, ", "))
	trusted, err := g.Access.MayChangeStamps(ctx, req.UserInfo)
	if err != nil { // the change waits until somebody can say
		g.Log.ErrorContext(ctx, "pod update refused: it could not be found out who is trusted", "namespace", req.Namespace, "name", req.Name, "user", req.UserInfo.Username, "err", err)
		g.Metrics.problem(reasonCluster)
		refusal += " (" + err.Error() + ")"
	}
	if trusted {
		g.Metrics.request(resultUnchanged)
		return allowed()
	}
	g.Metrics.request(resultDenied)
	return denied(policies.Decision{Deny: []string{refusal}})
}

func (*Guard) undecided(_ context.Context, _ *request, why string) *admissionv1.AdmissionResponse {
	return allowed(why)
}

// changedKeys lists the managed keys in which two pods differ. Pods without a
// class, before and after, are none of detnet's business.
func changedKeys(oldPod, newPod policies.Object) ([]string, error) {
	before, err := metadataOf(oldPod)
	if err != nil {
		return nil, fmt.Errorf("the old pod: %w", err)
	}
	after, err := metadataOf(newPod)
	if err != nil {
		return nil, fmt.Errorf("the new pod: %w", err)
	}
	if before.Labels[workload.LabelClass] == "" && after.Labels[workload.LabelClass] == "" {
		return nil, nil
	}
	changed := differing(guardedLabels, before.Labels, after.Labels)
	return append(changed, differing(workload.ManagedAnnotations, before.Annotations, after.Annotations)...), nil
}

func differing(keys []string, before, after map[string]string) []string {
	var out []string
	for _, key := range keys {
		b, had := before[key]
		a, has := after[key]
		if had != has || a != b {
			out = append(out, key)
		}
	}
	return out
}
