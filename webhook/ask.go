package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload/ask"
	"github.com/detnet/detnet/workload/signature"
)

// Policies answers the controller which Cilium policies a pod should have
// (package ask). It changes nothing, and answers nobody who does not hold the key
// that signs stamps.
type Policies struct {
	Decider Decider
	Cluster Cluster
	Keys    func() signature.Keys
	Log     *slog.Logger
}

// ServeHTTP answers an AdmissionReview (admission.k8s.io/v1) with an ask.Answer.
func (p *Policies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	keys := p.Keys()
	if !ask.Allowed(r.Header, keys.Current, keys.Previous) {
		http.Error(w, "only detnet's controller may ask", http.StatusUnauthorized)
		return
	}
	req, status, err := readReview(w, r)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), budget(r))
	defer cancel()
	answer, err := p.answer(ctx, req)
	if err != nil {
		p.Log.WarnContext(ctx, "network policies not decided", "namespace", req.Namespace, "pod", req.Name, "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that left needs no answer
}

func (p *Policies) answer(ctx context.Context, req *request) (ask.Answer, error) {
	namespace, err := p.Cluster.Namespace(ctx, req.Namespace)
	if err != nil {
		return ask.Answer{}, fmt.Errorf("look up namespace %q: %w", req.Namespace, err)
	}
	decision, err := p.Decider.Decide(ctx, policies.Input{
		Pod: req.Object, Namespace: namespace, Operation: string(req.Operation),
		User: policies.User{Name: req.UserInfo.Username, Groups: req.UserInfo.Groups},
	})
	if err != nil {
		return ask.Answer{}, err
	}
	return answerOf(decision)
}

// answerOf is what the controller is told of a decision. A pod that would be
// refused today, or does not concern detnet, should have none.
func answerOf(d policies.Decision) (ask.Answer, error) {
	if d.Class == "" || len(d.Deny) > 0 {
		return ask.Answer{}, nil
	}
	answer := ask.Answer{Class: d.Class, Decision: d.ID()}
	for _, p := range d.NetworkPolicies {
		spec, err := json.Marshal(p.Spec)
		if err != nil {
			return ask.Answer{}, fmt.Errorf("encode network policy %s: %w", p.Name, err)
		}
		answer.Policies = append(answer.Policies, ask.Policy{Name: p.Name, Yields: p.Yields, Spec: spec})
	}
	return answer, nil
}
