package repair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/controller/hook"
)

// errExempt reports a namespace that the webhook leaves alone.
var errExempt = errors.New("the webhook does not act on this namespace")

// review asks what the webhook would make of pod if it were created now.
func review(ctx context.Context, e hook.Endpoint, pod *corev1.Pod) (*corev1.Pod, error) {
	fresh := hook.AsCreated(pod)
	object, err := json.Marshal(fresh)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	response, err := call(ctx, e, pod)
	if err != nil {
		return nil, err
	}
	if !response.Allowed {
		return nil, fmt.Errorf("the webhook would refuse it: %s", message(response))
	}
	if len(response.Patch) == 0 {
		return fresh, nil
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err == nil {
		object, err = patch.Apply(object)
	}
	if err != nil {
		return nil, fmt.Errorf("apply the webhook's patch: %w", err)
	}
	stamped := &corev1.Pod{}
	if err := json.Unmarshal(object, stamped); err != nil {
		return nil, fmt.Errorf("decode the stamped pod: %w", err)
	}
	return stamped, nil
}

func message(r *admissionv1.AdmissionResponse) string {
	if r.Result != nil {
		return r.Result.Message
	}
	return "no reason given"
}

func call(ctx context.Context, e hook.Endpoint, pod *corev1.Pod) (*admissionv1.AdmissionResponse, error) {
	uid, body, err := hook.ReviewOf(pod)
	if err != nil {
		return nil, err
	}
	status, answer, err := e.Post(ctx, "", nil, body)
	if err != nil {
		return nil, err
	}
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &out); err != nil || out.Response == nil || out.Response.UID != uid {
		return nil, fmt.Errorf("ask the webhook: status %d is no answer to the review", status)
	}
	return out.Response, nil
}
