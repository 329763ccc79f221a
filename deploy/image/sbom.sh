#!/bin/bash
# Writes what this root file system holds, as SPDX 2.3 in JSON: the Debian packages and Octet.
#
#   sbom.sh VERSION CREATED    VERSION of Octet; CREATED as 2025-01-31T12:00:00Z
#
# Runs in the image; needs dpkg, sha256sum and awk.

set -euo pipefail

readonly OCTET_VERSION=$1 CREATED=$2
readonly BINARY=${OCTET_BINARY:-/usr/bin/octet}

checksum=$(sha256sum "$BINARY" | cut -d' ' -f1)
release=$(. /etc/os-release && echo "$ID-$VERSION_ID")

dpkg-query -W -f='${binary:Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n' |
  LC_ALL=C sort |
  awk -F'\t' -v version="$OCTET_VERSION" -v created="$CREATED" -v checksum="$checksum" \
      -v release="$release" '
    # Names in package URLs.
    function quoted(text) { gsub(/\+/, "%2B", text); gsub(/:/, "%3A", text); return text }
    function identifier(text) { gsub(/[^A-Za-z0-9.-]/, "-", text); return "SPDXRef-Package-" text }
    function contains(id) {
      relations = relations sprintf(",\n    {\"spdxElementId\": \"SPDXRef-Image\", " \
        "\"relationshipType\": \"CONTAINS\", \"relatedSpdxElement\": \"%s\"}", id)
    }
    BEGIN {
      print "{"
      print "  \"spdxVersion\": \"SPDX-2.3\","
      print "  \"dataLicense\": \"CC0-1.0\","
      print "  \"SPDXID\": \"SPDXRef-DOCUMENT\","
      printf "  \"name\": \"octet-%s\",\n", version
      printf "  \"documentNamespace\": \"https://spdx.org/spdxdocs/octet-%s-%s\",\n", version, checksum
      printf "  \"creationInfo\": {\"created\": \"%s\", \"creators\": [\"Tool: octet-sbom\"]},\n", created
      print "  \"packages\": ["
      printf "    {\"SPDXID\": \"SPDXRef-Image\", \"name\": \"octet-image\", \"versionInfo\": \"%s\",\n", version
      print "     \"primaryPackagePurpose\": \"CONTAINER\", \"filesAnalyzed\": false,"
      print "     \"downloadLocation\": \"NOASSERTION\"},"
      printf "    {\"SPDXID\": \"SPDXRef-Octet\", \"name\": \"octet\", \"versionInfo\": \"%s\",\n", version
      print "     \"primaryPackagePurpose\": \"APPLICATION\", \"filesAnalyzed\": false,"
      print "     \"downloadLocation\": \"NOASSERTION\", \"licenseDeclared\": \"Apache-2.0\","
      printf "     \"checksums\": [{\"algorithm\": \"SHA256\", \"checksumValue\": \"%s\"}]}", checksum
      relations = "    {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", " \
        "\"relatedSpdxElement\": \"SPDXRef-Image\"}"
      contains("SPDXRef-Octet")
    }
    {
      name = $1
      sub(/:.*/, "", name)
      id = identifier(name)
      printf ",\n    {\"SPDXID\": \"%s\", \"name\": \"%s\", \"versionInfo\": \"%s\",\n", id, name, $2
      print "     \"supplier\": \"Organization: Debian\", \"filesAnalyzed\": false,"
      print "     \"downloadLocation\": \"NOASSERTION\","
      printf "     \"sourceInfo\": \"built from %s %s\",\n", $4, $5
      printf "     \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", " \
        "\"referenceType\": \"purl\",\n      \"referenceLocator\": " \
        "\"pkg:deb/debian/%s@%s?arch=%s&distro=%s\"}]}", quoted(name), quoted($2), $3, release
      contains(id)
    }
    END { printf "\n  ],\n  \"relationships\": [\n%s\n  ]\n}\n", relations }'
