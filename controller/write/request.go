package write

import (
	"encoding/json"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// request is what is sent.
func (c Change) request(client rest.Interface) (*rest.Request, error) {
	collection, err := c.collection()
	if err != nil {
		return nil, err
	}
	var r *rest.Request
	var body any
	switch c.Verb {
	case Create:
		r, body = client.Post().AbsPath(collection), c.whole()
	case Replace:
		r, body = client.Put().AbsPath(c.path(collection)), c.whole()
	case Delete:
		return c.deletion(client.Delete().AbsPath(c.path(collection)))
	default:
		r, body = client.Patch(types.MergePatchType).AbsPath(c.path(collection)), c.body()
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: encode: %w", c.Verb, c.Target, err)
	}
	r.Param("fieldManager", FieldManager).Body(raw)
	if c.Verb != Patch {
		r.SetHeader("Content-Type", "application/json").Param("fieldValidation", metav1.FieldValidationStrict)
	}
	if c.DryRun {
		r.Param("dryRun", metav1.DryRunAll)
	}
	return r, nil
}

// deletion is of the object that was read, and of no other.
func (c Change) deletion(r *rest.Request) (*rest.Request, error) {
	options := metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{},
	}
	if c.UID != "" {
		options.Preconditions.UID = &c.UID
	}
	if c.Version != "" {
		options.Preconditions.ResourceVersion = &c.Version
	}
	if c.DryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("delete %s: encode: %w", c.Target, err)
	}
	return r.SetHeader("Content-Type", "application/json").Body(raw), nil
}

// whole is the object that is made.
func (c Change) whole() map[string]any {
	object := c.body()
	object["apiVersion"], object["kind"] = kinds[c.Kind].version, c.Kind
	meta, _ := object["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		object["metadata"] = meta
	}
	meta["name"] = c.Name
	if c.Namespace != "" {
		meta["namespace"] = c.Namespace
	}
	return object
}

// body is the merge patch that is sent.
func (c Change) body() map[string]any {
	body := maps.Clone(c.Merge)
	if body == nil {
		body = map[string]any{}
	}
	meta := map[string]any{}
	if given, ok := body["metadata"].(map[string]any); ok {
		maps.Copy(meta, given)
	}
	for key, values := range map[string]map[string]string{"labels": c.Labels, "annotations": c.Annotations} {
		if len(values) == 0 {
			continue
		}
		merge := map[string]any{}
		if given, ok := meta[key].(map[string]any); ok {
			maps.Copy(merge, given)
		}
		for k, v := range values {
			merge[k] = v
			if v == "" {
				merge[k] = nil
			}
		}
		meta[key] = merge
	}
	if c.UID != "" {
		meta["uid"] = c.UID
	}
	if c.Version != "" {
		meta["resourceVersion"] = c.Version
	}
	if len(meta) > 0 {
		body["metadata"] = meta
	}
	return body
}
