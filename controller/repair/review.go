package repair

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Bounds of a call to the webhook.
const (
	patience  = 10 * time.Second
	maxAnswer = 8 << 20
)

// asker is who the webhook is told to be asking: nobody whom a policy could
// trust, since the one who created the pod is not known any more.
const asker = "detnet:repair"

// errExempt reports a namespace that the webhook leaves alone.
var errExempt = errors.New("the webhook does not act on this namespace")

// endpoint is where and how to call a webhook.
type endpoint struct {
	url    string
	client *http.Client
}

// endpointOf reads a webhook's configuration as the API server does. clusterIP, if
// not empty, is dialled in place of the Service's name, for clusters without DNS.
// The caller closes idle connections.
func endpointOf(hook registrationv1.MutatingWebhook, clusterIP string) (endpoint, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(hook.ClientConfig.CABundle) {
		return endpoint{}, fmt.Errorf("webhook %s: no certificate authority yet", hook.Name)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}}
	e := endpoint{client: &http.Client{Timeout: patience, Transport: transport}}
	if hook.ClientConfig.URL != nil {
		e.url = *hook.ClientConfig.URL
		return e, nil
	}
	service := hook.ClientConfig.Service
	if service == nil {
		return endpoint{}, fmt.Errorf("webhook %s: neither URL nor Service", hook.Name)
	}
	port := "443"
	if service.Port != nil {
		port = strconv.Itoa(int(*service.Port))
	}
	if clusterIP != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(clusterIP, port))
		}
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(service.Name+"."+service.Namespace+".svc", port)}
	if service.Path != nil {
		u.Path = *service.Path
	}
	e.url = u.String()
	return e, nil
}

// concerns reports whether the webhook acts on a namespace, as far as its name
// tells.
func concerns(hook registrationv1.MutatingWebhook, namespace string) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(hook.NamespaceSelector)
	if err != nil {
		return false, fmt.Errorf("webhook %s: namespace selector: %w", hook.Name, err)
	}
	return selector.Matches(labels.Set{corev1.LabelMetadataName: namespace}), nil
}

// review asks what the webhook would make of pod if it were created now.
func (e endpoint) review(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	fresh := asCreated(pod)
	object, err := json.Marshal(fresh)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	response, err := e.call(ctx, &admissionv1.AdmissionRequest{
		UID:       types.UID("repair-" + string(pod.UID)),
		Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: pod.Namespace, Name: pod.Name,
		Operation: admissionv1.Create,
		UserInfo:  authenticationv1.UserInfo{Username: asker},
		Object:    runtime.RawExtension{Raw: object},
	})
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

func (e endpoint) call(ctx context.Context, request *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	review := admissionv1.AdmissionReview{Request: request}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	body, err := json.Marshal(review)
	if err != nil {
		return nil, fmt.Errorf("encode review: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the webhook: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask the webhook: %w", err)
	}
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &out); err != nil || out.Response == nil || out.Response.UID != request.UID {
		return nil, fmt.Errorf("ask the webhook: %s is no answer to the review", resp.Status)
	}
	return out.Response, nil
}

// asCreated is the pod as its creator sent it, as far as that can be told.
func asCreated(pod *corev1.Pod) *corev1.Pod {
	fresh := pod.DeepCopy()
	fresh.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	fresh.UID, fresh.ResourceVersion, fresh.Generation, fresh.ManagedFields = "", "", 0, nil
	fresh.CreationTimestamp = metav1.Time{}
	fresh.Spec.NodeName = ""
	fresh.Status = corev1.PodStatus{}
	return fresh
}
