package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"swell.dev/swell/controlplane"
)

// jsonPatchOperations bounds a JSON patch, as in kube-apiserver.
const jsonPatchOperations = 10000

var patchTypes = []string{
	string(types.JSONPatchType), string(types.MergePatchType), string(types.ApplyYAMLPatchType), string(types.StrategicMergePatchType),
}

// patch serves the four kinds of PATCH on an object itself.
func (s *Server) patch(q *request) error {
	return s.patchWith(q, s.modifyCounted, func(next, old controlplane.Object, manager string) (controlplane.Object, error) {
		return s.nextObject(q, next, old, manager)
	})
}

// finisher turns what was sent into the next state. An empty manager leaves managed fields as next has them.
type finisher func(next, old controlplane.Object, manager string) (controlplane.Object, error)

// patchWith reads a patch, applies it to the present state and commits what finish makes of the result.
func (s *Server) patchWith(q *request, commit committer, finish finisher) error {
	p, opts, err := s.readPatch(q)
	if err != nil {
		return err
	}
	dryRun := len(opts.DryRun) > 0
	if p.kind == types.ApplyYAMLPatchType {
		return s.serverSideApply(q, p, opts, commit, finish)
	}
	manager := s.managerOf(q, opts.FieldManager)
	var sizes *sizePatch
	if q.subresource == "resize" {
		sizes = readSizePatch(p)
	}
	var warnings []error
	out, err := commit(q.r.Context(), q.key(), dryRun, func(old controlplane.Object) (controlplane.Object, error) {
		next := q.res.rules.new()
		if sizes != nil && sizes.apply(old, next) {
			return finish(next, old, manager)
		}
		var err error
		if warnings, err = s.applyPatch(q, p, old, next); err != nil {
			return nil, err
		}
		return finish(next, old, manager)
	})
	if err != nil {
		return err
	}
	warn(q.w, warnings)
	s.afterUpdate(q, out)
	return q.respond(s, http.StatusOK, out)
}

type patchBody struct {
	kind            types.PatchType
	data            []byte
	fieldValidation string
}

func (s *Server) readPatch(q *request) (patchBody, *metav1.PatchOptions, error) {
	media, err := q.mediaType(patchTypes)
	if err != nil {
		return patchBody{}, nil, err
	}
	opts := &metav1.PatchOptions{}
	if err := q.queryOptions(opts); err != nil {
		return patchBody{}, nil, err
	}
	if err := invalidOptions("PatchOptions", metavalidation.ValidatePatchOptions(opts, types.PatchType(media))); err != nil {
		return patchBody{}, nil, err
	}
	data, err := q.body()
	return patchBody{kind: types.PatchType(media), data: data, fieldValidation: opts.FieldValidation}, opts, err
}

// applyPatch decodes into next what old becomes.
func (s *Server) applyPatch(q *request, p patchBody, old, next controlplane.Object) (warnings []error, err error) {
	before, err := s.codecs.encode(old, q.res.gvk, format{media: mediaJSON})
	if err != nil {
		return nil, err
	}
	after, err := patched(p, before, next)
	if err != nil {
		return nil, err
	}
	if warnings, err = duplicates(p); err != nil {
		return nil, err
	}
	more, err := s.decode(after, mediaJSON, next, q.res.gvk, p.fieldValidation)
	if err != nil {
		return nil, invalidPatch(p.data, err)
	}
	return append(warnings, more...), nil
}

func patched(p patchBody, before []byte, kind runtime.Object) ([]byte, error) {
	switch p.kind {
	case types.JSONPatchType:
		ops, err := jsonpatch.DecodePatch(p.data)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if len(ops) > jsonPatchOperations {
			return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", jsonPatchOperations, len(ops)))
		}
		after, err := ops.Apply(before)
		if err != nil {
			return nil, unpatchable(err)
		}
		return after, nil
	case types.MergePatchType:
		after, err := jsonpatch.MergePatch(before, p.data)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return after, nil
	default:
		after, err := strategicpatch.StrategicMergePatch(before, p.data, kind)
		switch {
		case err == nil:
			return after, nil
		case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
			errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
			errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
			return nil, apierrors.NewBadRequest(err.Error())
		default:
			return nil, unpatchable(err)
		}
	}
}

// unpatchable answers a patch that is well formed and doesn't fit the object.
func unpatchable(err error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: err.Error(),
	}}
}

// duplicates finds fields that the patch itself names twice; of the patched object this can't be seen any more.
func duplicates(p patchBody) (warnings []error, err error) {
	if p.kind == types.JSONPatchType || p.fieldValidation == metav1.FieldValidationIgnore {
		return nil, nil
	}
	var v map[string]any
	strict, err := kjson.UnmarshalStrict(p.data, &v)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(strict) > 0 && p.fieldValidation == metav1.FieldValidationStrict {
		return nil, invalidPatch(p.data, runtime.NewStrictDecodingError(strict))
	}
	return strict, nil
}

func invalidPatch(patch []byte, err error) error {
	var bad *apierrors.StatusError
	message := err.Error()
	if errors.As(err, &bad) {
		message = bad.ErrStatus.Message
	}
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(patch), message)})
}
