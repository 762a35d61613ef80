package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/policies"
)

// maxReview bounds the body of a request, in bytes. The API server accepts
// objects of up to 3 MB, and a review of an update carries two.
const maxReview = 8 << 20

// maxWarning is where a warning is cut, in bytes. The API server drops
// warnings beyond 4 KiB together, and RFC 7234 headers are no place for more.
const maxWarning = 1024

// errReview marks a request that is no AdmissionReview.
var errReview = errors.New("not an AdmissionReview")

// request is what is read of an AdmissionReview. The objects are decoded with
// it, once: decoding is most of what the webhook itself does.
type request struct {
	UID         types.UID                   `json:"uid"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Name        string                      `json:"name"`
	Namespace   string                      `json:"namespace"`
	Operation   admissionv1.Operation       `json:"operation"`
	UserInfo    authenticationv1.UserInfo   `json:"userInfo"`
	Object      policies.Object             `json:"object"`
	OldObject   policies.Object             `json:"oldObject"`
	DryRun      bool                        `json:"dryRun"`
}

// admitter answers a request. Undecided is the answer where Admit failed
// altogether.
type admitter interface {
	admit(context.Context, *request) *admissionv1.AdmissionResponse
	undecided(context.Context, *request, string) *admissionv1.AdmissionResponse
}

// serveReview decodes, calls admit under the request's deadline and encodes.
func serveReview(w http.ResponseWriter, r *http.Request, metrics *Metrics, log *slog.Logger, to admitter) {
	req, status, err := readReview(w, r)
	if err != nil {
		metrics.request(resultMalformed)
		metrics.problem(reasonMalformed)
		log.WarnContext(r.Context(), "admission request refused", "remote", r.RemoteAddr, "err", err)
		http.Error(w, err.Error(), status)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), budget(r))
	defer cancel()
	answer := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: reviewVersion, Kind: reviewKind},
		Response: guarded(ctx, req, metrics, log, to),
	}
	answer.Response.UID = req.UID
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that left needs no answer
}

// guarded turns a panic into an answer.
func guarded(ctx context.Context, req *request, metrics *Metrics, log *slog.Logger, to admitter) (response *admissionv1.AdmissionResponse) {
	defer func() {
		if p := recover(); p != nil {
			metrics.request(resultUnevaluated)
			metrics.problem(reasonPanic)
			log.ErrorContext(ctx, "panic during admission", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			response = to.undecided(ctx, req, "detnet failed on this object")
		}
	}()
	return to.admit(ctx, req)
}

// What a review says of itself.
const (
	reviewVersion = "admission.k8s.io/v1"
	reviewKind    = "AdmissionReview"
)

// readReview returns the request in the body or the HTTP status that refuses it.
func readReview(w http.ResponseWriter, r *http.Request) (*request, int, error) {
	if r.Method != http.MethodPost {
		return nil, http.StatusMethodNotAllowed, fmt.Errorf("%w: method %s, want POST", errReview, r.Method)
	}
	req, err := decodeReview(http.MaxBytesReader(w, r.Body, maxReview))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("%w: body exceeds %d bytes", errReview, maxReview)
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	return req, http.StatusOK, nil
}

// decodeReview reads a v1 AdmissionReview with a request in it.
func decodeReview(body io.Reader) (*request, error) {
	var review struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Request    *request `json:"request"`
	}
	decoder := json.NewDecoder(body)
	decoder.UseNumber()
	if err := decoder.Decode(&review); err != nil {
		return nil, fmt.Errorf("%w: %w", errReview, err)
	}
	if review.APIVersion != reviewVersion || review.Kind != reviewKind {
		return nil, fmt.Errorf("%w: got %q %q, want %s %s", errReview, review.APIVersion, review.Kind, reviewVersion, reviewKind)
	}
	if review.Request == nil {
		return nil, fmt.Errorf("%w: it has no request", errReview)
	}
	return review.Request, nil
}

// budget is how long an answer may take. The API server says in the URL when
// it gives up; a late answer is worth nothing, so a tenth is kept to send it.
func budget(r *http.Request) time.Duration {
	const most = 10 * time.Second
	limit, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || limit <= 0 || limit > most {
		limit = most
	}
	return limit - limit/10
}

func allowed(warnings ...string) *admissionv1.AdmissionResponse {
	for i, w := range warnings {
		warnings[i] = headerText(w)
	}
	return &admissionv1.AdmissionResponse{Allowed: true, Warnings: warnings}
}

func denied(d policies.Decision) *admissionv1.AdmissionResponse {
	response := allowed(d.Warn()...)
	response.Allowed = false
	response.Result = &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Message: "detnet: " + strings.Join(d.Deny, "; "),
	}
	return response
}

// failed refuses a pod about which nothing could be decided. It is worth trying
// again, unlike one that was denied.
func failed(why string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable,
		Message: headerText(why) + "; the pod is refused, as failurePolicy Fail asks for",
	}}
}

// headerText makes s fit for the Warning header the API server puts it into.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) <= maxWarning {
		return s
	}
	cut := maxWarning
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
