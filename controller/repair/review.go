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
	"github.com/detnet/detnet/workload/ask"
)

// Why there is no review.
var (
	errAway      = errors.New("the webhook does not answer")
	errUndecided = errors.New("the webhook could not decide about it")
)

// review asks what the webhook would make of pod if it were created now, and of
// what it would warn.
func review(ctx context.Context, e hook.Endpoint, pod *corev1.Pod) (_ *corev1.Pod, warnings []string, err error) {
	fresh := hook.AsCreated(pod)
	object, err := json.Marshal(fresh)
	if err != nil {
		return nil, nil, fmt.Errorf("encode pod: %w", err)
	}
	response, err := call(ctx, e, pod)
	if err != nil {
		return nil, nil, err
	}
	if !response.Allowed {
		return nil, nil, fmt.Errorf("the webhook would refuse it: %s", message(response))
	}
	if why, undecided := response.AuditAnnotations[ask.Undecided]; undecided {
		return nil, nil, fmt.Errorf("%w: %s", errUndecided, why) // and no stamp is taken away for it
	}
	if len(response.Patch) == 0 {
		return fresh, response.Warnings, nil
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err == nil {
		object, err = patch.Apply(object)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("apply the webhook's patch: %w", err)
	}
	stamped := &corev1.Pod{}
	if err := json.Unmarshal(object, stamped); err != nil {
		return nil, nil, fmt.Errorf("decode the stamped pod: %w", err)
	}
	return stamped, response.Warnings, nil
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
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &out); err != nil || out.Response == nil || out.Response.UID != uid {
		return nil, fmt.Errorf("%w: status %d is no answer to the review", errAway, status)
	}
	return out.Response, nil
}
