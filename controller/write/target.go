package write

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Target names a live object.
type Target struct {
	Kind, Namespace, Name string // Namespace is "" for a node
	// UID tells the object from a namesake that came after it; "" where only the
	// name is known.
	UID types.UID
}

// kinds are the objects that detnet changes, with their resources.
var kinds = map[string]struct{ version, resource string }{
	"Pod":                 {"v1", "pods"},
	"Node":                {"v1", "nodes"},
	"Deployment":          {"apps/v1", "deployments"},
	"StatefulSet":         {"apps/v1", "statefulsets"},
	"DaemonSet":           {"apps/v1", "daemonsets"},
	"CiliumNetworkPolicy": {"cilium.io/v2", "ciliumnetworkpolicies"},
}

func (t Target) String() string {
	if t.Namespace == "" {
		return t.Kind + " " + t.Name
	}
	return t.Kind + " " + t.Namespace + "/" + t.Name
}

// Reference is what an Event about the object regards.
func (t Target) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: t.Kind, APIVersion: kinds[t.Kind].version, Namespace: t.Namespace, Name: t.Name, UID: t.UID}
}

// collection is the path of the objects of its kind and namespace, at the API
// server.
func (t Target) collection() (string, error) {
	kind, ok := kinds[t.Kind]
	if !ok {
		return "", fmt.Errorf("objects of kind %s are not detnet's to change", t.Kind)
	}
	root := "/apis/" + kind.version
	if !strings.Contains(kind.version, "/") {
		root = "/api/" + kind.version
	}
	if t.Namespace != "" {
		root += "/namespaces/" + url.PathEscape(t.Namespace)
	}
	return root + "/" + kind.resource, nil
}

// path is the object's.
func (c Change) path(collection string) string {
	path := collection + "/" + url.PathEscape(c.Name)
	if c.Subresource != "" {
		path += "/" + c.Subresource
	}
	return path
}

// maxNote is the length of an Event's note that the API server takes, in bytes.
const maxNote = 1000

// Note cuts a text so that an Event can carry it.
func Note(text string) string {
	if len(text) <= maxNote {
		return text
	}
	cut := maxNote
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + " …"
}
