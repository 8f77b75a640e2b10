package focus

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// Metadata describes a dataset as FOCUS's metadata says: who made it, its schema, and how recent it is.
type Metadata struct {
	DataGenerator   dataGenerator    `json:"DataGenerator"`
	DatasetInstance *datasetInstance `json:"DatasetInstance,omitempty"`
	Recency         *recency         `json:"Recency,omitempty"`
	Schema          schema           `json:"Schema"`
}

type dataGenerator struct {
	DataGenerator string
}

type datasetInstance struct {
	DatasetInstanceID   string `json:"DatasetInstanceId"`
	DatasetInstanceName string
	FocusDatasetID      string `json:"FocusDatasetId"`
}

type recency struct {
	DatasetInstanceID          string `json:"DatasetInstanceId"`
	DatasetInstanceLastUpdated string
	DatasetInstanceComplete    bool
	RecencyLastUpdated         string
}

type schema struct {
	SchemaID             string `json:"SchemaId"`
	FocusVersion         string
	CreationDate         string
	DataGeneratorVersion string             `json:",omitempty"`
	DatasetInstanceID    string             `json:"DatasetInstanceId,omitempty"`
	ColumnDefinition     []columnDefinition `json:"ColumnDefinition"`
}

type columnDefinition struct {
	ColumnName          string
	DataType            string
	NumericPrecision    int      `json:",omitempty"`
	NumberScale         int      `json:",omitempty"`
	StringEncoding      string   `json:",omitempty"`
	ProviderTagPrefixes []string `json:",omitempty"`
}

// schemaDate is when the columns last changed.
const schemaDate = "2026-11-27T00:00:00Z"

// MetadataOf describes a dataset that was made at a moment by a version of Swell. It is complete when nothing will
// be added to what it has.
func MetadataOf(v Version, d Dataset, swell string, made time.Time, complete bool) Metadata {
	m := Metadata{
		DataGenerator: dataGenerator{"Swell"},
		Schema:        schema{FocusVersion: v.String(), CreationDate: schemaDate, DataGeneratorVersion: swell},
	}
	hash := sha256.New()
	for _, c := range Columns(v, d) {
		def := columnDefinition{ColumnName: c.Name, DataType: map[Type]string{String: "STRING", Decimal: "DECIMAL", DateTime: "DATETIME", JSON: "JSON"}[c.Type]}
		switch c.Type {
		case Decimal:
			def.NumericPrecision, def.NumberScale = precision, scale
		case String:
			def.StringEncoding = "UTF-8"
		}
		if c.Name == "Tags" {
			def.ProviderTagPrefixes = []string{strings.TrimSuffix(tagPrefix, ":")}
		}
		m.Schema.ColumnDefinition = append(m.Schema.ColumnDefinition, def)
		hash.Write([]byte(c.Name + " " + def.DataType + "\n"))
	}
	m.Schema.SchemaID = "swell-" + d.String() + "-" + v.String() + "-" + hex.EncodeToString(hash.Sum(nil))[:12]
	if v != Version12 {
		stamp := made.UTC().Format(timeForm)
		id := "swell-" + d.String()
		m.Schema.DatasetInstanceID = id
		m.DatasetInstance = &datasetInstance{id, "Swell " + strings.ReplaceAll(d.String(), "-", " "), d.ID()}
		m.Recency = &recency{id, stamp, complete, stamp}
	}
	return m
}

// MarshalIndent is the metadata as a file.
func (m Metadata) MarshalIndent() []byte {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}
