package apiserver

import (
	"cmp"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	mediaJSON     = "application/json"
	mediaYAML     = "application/yaml"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
)

// format is how an answer is to be written.
type format struct {
	media   string
	pretty  bool
	as      string // "", Table, PartialObjectMetadata or PartialObjectMetadataList
	version string // of as: v1 or v1beta1
}

// contentType is that of an answer which is not a watch.
func (f format) contentType() string {
	return f.media
}

type clause struct {
	media  string
	params map[string]string
	q      float64
}

// parseAccept answers the clauses of an Accept header, the most wanted first. What can't be parsed is left out.
func parseAccept(header string) []clause {
	var out []clause
	for part := range strings.SplitSeq(header, ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		c := clause{media: media, params: params, q: 1}
		if v, ok := params["q"]; ok {
			if q, err := strconv.ParseFloat(v, 64); err == nil {
				c.q = q
			}
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b clause) int { return cmp.Compare(b.q, a.q) })
	return out
}

// negotiate chooses among the media types on offer (the first is what */* gets). Transforms says whether
// the answer can be turned into a Table or reduced to its metadata.
func negotiate(r *http.Request, offered []string, transforms bool) (format, error) {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return format{media: offered[0], pretty: pretty(r)}, nil
	}
	for _, c := range parseAccept(header) {
		media, ok := match(c.media, offered)
		if !ok || c.q == 0 {
			continue
		}
		f := format{media: media, pretty: pretty(r)}
		if v, ok := c.params["pretty"]; ok {
			f.pretty = v == "1" || v == "true"
		}
		if as := c.params["as"]; as != "" {
			if !transforms || !transformable(as, c.params, media) {
				continue
			}
			f.as, f.version = as, c.params["v"]
		}
		return f, nil
	}
	return format{}, notAcceptable(offered)
}

func transformable(as string, params map[string]string, media string) bool {
	if params["g"] != "meta.k8s.io" || params["v"] != "v1" && params["v"] != "v1beta1" {
		return false
	}
	switch as {
	case "Table":
		return media != mediaProtobuf // a Table's cells have no protobuf form
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		return true
	}
	return false
}

func match(want string, offered []string) (string, bool) {
	if want == "*/*" {
		return offered[0], true
	}
	for _, o := range offered {
		if o == want || strings.HasSuffix(want, "/*") && strings.HasPrefix(o, strings.TrimSuffix(want, "*")) {
			return o, true
		}
	}
	return "", false
}

// pretty tells whether JSON is to be indented: when asked, and for people at a terminal.
func pretty(r *http.Request) bool {
	if v := r.URL.Query().Get("pretty"); v != "" {
		return v == "1" || v == "true"
	}
	agent := r.UserAgent()
	return strings.HasPrefix(agent, "curl/") || strings.HasPrefix(agent, "Wget/") || strings.HasPrefix(agent, "Mozilla/")
}

func join(list []string) string { return strings.Join(list, ", ") }
