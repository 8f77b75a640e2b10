package apiserver

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// schemas builds OpenAPI schemas from the API's Go types: their JSON tags, the names and descriptions that
// the types carry (OpenAPIModelName, SwaggerDoc) and the patch tags. A field is required where it is neither
// a pointer nor left out when empty.
type schemas struct {
	v3          bool
	prefix      string // of references
	definitions map[string]any
}

func newSchemas(v3 bool) *schemas {
	b := &schemas{v3: v3, prefix: "#/definitions/", definitions: map[string]any{}}
	if v3 {
		b.prefix = "#/components/schemas/"
	}
	return b
}

type (
	modelNamed interface{ OpenAPIModelName() string }
	documented interface{ SwaggerDoc() map[string]string }
	scalar     interface {
		OpenAPISchemaType() []string
		OpenAPISchemaFormat() string
	}
	oneOf interface{ OpenAPIV3OneOfTypes() []string }
)

func modelName(t reflect.Type) string {
	if n, ok := reflect.New(t).Interface().(modelNamed); ok {
		return n.OpenAPIModelName()
	}
	parts := strings.Split(t.PkgPath(), "/")
	return "dev.swell." + parts[len(parts)-1] + "." + t.Name()
}

// kind defines a top-level kind and answers a reference to it.
func (b *schemas) kind(t reflect.Type, gvk schema.GroupVersionKind) map[string]any {
	ref := b.of(t)
	def := b.definitions[modelName(t)].(map[string]any)
	gvks, _ := def["x-kubernetes-group-version-kind"].([]any)
	entry := map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
	if !slices.ContainsFunc(gvks, func(e any) bool { return reflect.DeepEqual(e, any(entry)) }) {
		def["x-kubernetes-group-version-kind"] = append(gvks, entry)
	}
	return ref
}

// of answers the schema of a type; structs are defined by name and referred to.
func (b *schemas) of(t reflect.Type) map[string]any {
	if t.Kind() == reflect.Pointer {
		return b.of(t.Elem())
	}
	if s, ok := reflect.New(t).Interface().(scalar); ok {
		return b.define(t, func() map[string]any { return b.scalar(s) })
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Int32, reflect.Uint32, reflect.Int16, reflect.Uint16, reflect.Int8, reflect.Uint8:
		return map[string]any{"type": "integer", "format": "int32"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer", "format": "int64"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number", "format": "double"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "format": "byte"}
		}
		return map[string]any{"type": "array", "items": b.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": b.of(t.Elem())}
	case reflect.Struct:
		return b.define(t, func() map[string]any { return b.object(t) })
	}
	return map[string]any{"type": "object"}
}

func (b *schemas) define(t reflect.Type, build func() map[string]any) map[string]any {
	name := modelName(t)
	if _, ok := b.definitions[name]; !ok {
		b.definitions[name] = nil // for types that contain themselves
		def := build()
		if d := docs(t)[""]; d != "" {
			def["description"] = d
		}
		b.definitions[name] = def
	}
	return map[string]any{"$ref": b.prefix + name}
}

func (b *schemas) scalar(s scalar) map[string]any {
	def := map[string]any{}
	if o, ok := s.(oneOf); ok && b.v3 {
		var types []any
		for _, t := range o.OpenAPIV3OneOfTypes() {
			types = append(types, map[string]any{"type": t})
		}
		def["oneOf"] = types
	} else {
		def["type"] = s.OpenAPISchemaType()[0]
	}
	if f := s.OpenAPISchemaFormat(); f != "" {
		def["format"] = f
	}
	return def
}

func docs(t reflect.Type) map[string]string {
	if d, ok := reflect.New(t).Interface().(documented); ok {
		return d.SwaggerDoc()
	}
	return nil
}

func (b *schemas) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	b.fields(t, properties, &required)
	def := map[string]any{"type": "object"}
	if len(properties) > 0 {
		def["properties"] = properties
	}
	if len(required) > 0 {
		def["required"] = required
	}
	return def
}

func (b *schemas) fields(t reflect.Type, properties map[string]any, required *[]string) {
	descriptions := docs(t)
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("json")
		name, opts, _ := strings.Cut(tag, ",")
		switch {
		case !f.IsExported() || !ok || name == "-":
			continue
		case name == "" && f.Anonymous:
			b.fields(f.Type, properties, required)
			continue
		case name == "":
			name = f.Name
		}
		s := b.described(b.of(f.Type), descriptions[name])
		if v := f.Tag.Get("patchStrategy"); v != "" {
			s["x-kubernetes-patch-strategy"] = v
		}
		if v := f.Tag.Get("patchMergeKey"); v != "" {
			s["x-kubernetes-patch-merge-key"] = v
		}
		properties[name] = s
		if f.Type.Kind() != reflect.Pointer && !strings.Contains(opts, "omit") {
			*required = append(*required, name)
		}
	}
}

// described adds a field's description. Version 3 allows nothing beside a reference but inside an allOf.
func (b *schemas) described(s map[string]any, description string) map[string]any {
	if _, isRef := s["$ref"]; isRef && b.v3 {
		s = map[string]any{"allOf": []any{s}}
	}
	if description != "" {
		s["description"] = description
	}
	return s
}
