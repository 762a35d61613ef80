package webhook

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cilium/cilium/pkg/policy/api"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload/ask"
	"github.com/detnet/detnet/workload/signature"
)

var stampKey = signature.Key(strings.Repeat("k", signature.KeyLength))

// askAs asks about somePod, with the key, if any, that proves who asks.
func askAs(t *testing.T, p *Policies, key []byte) (int, ask.Answer) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, ask.Path, strings.NewReader(string(review(t, somePod, nil))))
	if key != nil {
		ask.Authorize(r.Header, key)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	var answer ask.Answer
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, answer
}

func answering(d decider) *Policies {
	return &Policies{
		Decider: d, Cluster: emptyCluster{}, Log: slog.New(slog.DiscardHandler),
		Keys: func() signature.Keys { return signature.Keys{Current: stampKey} },
	}
}

func TestAnswersTheController(t *testing.T) {
	p := answering(func() (policies.Decision, error) {
		return policies.Decision{Class: "critical", Reasons: []string{"r"}, PolicyHash: "h", NetworkPolicies: []policies.NetworkPolicy{{Name: "p", Yields: true, Spec: &api.Rule{Description: "d"}}}}, nil
	})
	code, answer := askAs(t, p, stampKey)
	if code != http.StatusOK || answer.Class != "critical" || answer.Decision != "r@h" || len(answer.Policies) != 1 {
		t.Fatalf("%d: %+v", code, answer)
	}
	if got := answer.Policies[0]; got.Name != "p" || !got.Yields || string(got.Spec) != `{"description":"d"}` {
		t.Errorf("policy %+v %s", got, got.Spec)
	}
}

// Who can't prove that it holds the key learns nothing, and costs nothing.
func TestAnswersNobodyElse(t *testing.T) {
	p := answering(func() (policies.Decision, error) { panic("decided") })
	for name, key := range map[string][]byte{"without a key": nil, "with an empty key": {}, "with another key": []byte("other")} {
		if code, _ := askAs(t, p, key); code != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, code)
		}
	}
	p.Keys = func() signature.Keys { return signature.Keys{} }
	if code, _ := askAs(t, p, []byte{}); code != http.StatusUnauthorized {
		t.Errorf("before there is a key: status %d", code)
	}
}

func TestAnswersOfNoUse(t *testing.T) {
	some := []policies.NetworkPolicy{{Name: "p", Spec: &api.Rule{}}}
	for name, d := range map[string]policies.Decision{
		"no class": {NetworkPolicies: some},
		"refused":  {Class: "critical", Deny: []string{"no"}, NetworkPolicies: some},
	} {
		code, answer := askAs(t, answering(func() (policies.Decision, error) { return d, nil }), stampKey)
		if code != http.StatusOK || answer.Class != "" || len(answer.Policies) != 0 {
			t.Errorf("%s: %d %+v, want no policies", name, code, answer)
		}
	}
	// "Could not decide" is no answer, so that nobody takes it for "none".
	code, _ := askAs(t, answering(func() (policies.Decision, error) { return policies.Decision{}, errors.New("broken") }), stampKey)
	if code != http.StatusInternalServerError {
		t.Errorf("undecided: status %d", code)
	}
}
