# Sourced by scripts/fuzz: makes .build-fuzz/fuzz.
# shellcheck shell=bash

# Only the modules that read bytes are compiled for it, instrumented and optimised. The cryptography below them, most of
# the work of a whole build, is taken from the ordinary one.
build_fuzz_program() {
    swift build --target Mailchimp >&2
    local ordinary out=.build-fuzz module name
    ordinary=$(swift build --show-bin-path)
    mkdir -p $out
    local options=(
        -O -g -wmo -parse-as-library -enable-testing -swift-version 6 -package-name koppeling
        -sanitize=fuzzer,address -I "$ordinary/Modules" -I Sources/CCurl -I Sources/CEpoll
    )
    for name in ExistentialAny InternalImportsByDefault MemberImportVisibility NonisolatedNonsendingByDefault \
        InferIsolatedConformances; do
        options+=(-enable-upcoming-feature "$name")
    done
    for module in IO HTTPClient Mailchimp; do
        swiftc "${options[@]}" -I $out -module-name $module -emit-module -emit-module-path $out/$module.swiftmodule \
            -c -o $out/$module.o Sources/$module/*.swift
    done
    # Parsers that need nothing of their own modules are compiled in, which spares those modules.
    swiftc "${options[@]}" -I $out -module-name Fuzz -c -o $out/Fuzz.o Fuzzing/*.swift \
        Sources/ServiceCenter/FormValue.swift Sources/TargetGroups/CSVParser.swift Sources/TargetGroups/CSVRecord.swift
    local below
    mapfile -t below < <(find \
        "$ordinary"/{CCryptoBoringSSL,CCryptoBoringSSLShims,CXKCP,CXKCPShims,CryptoBoringWrapper,Crypto}.build -name '*.o')
    swiftc -sanitize=fuzzer,address -use-ld=lld -o $out/fuzz $out/{IO,HTTPClient,Mailchimp,Fuzz}.o "${below[@]}" -lcurl
}
