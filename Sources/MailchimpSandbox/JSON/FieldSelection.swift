/// The fields of an answer that the caller asked for, from `fields` or `exclude_fields`.
///
/// Paths are dotted and start at the root of the answer; a path through an array means each of its elements.
struct FieldSelection: Sendable {
    private struct Node: Sendable {
        var children: [String: Node] = [:]

        init(_ paths: String) {
            for path in paths.split(separator: ",") {
                insert(path.split(separator: ".").map { String($0.trimming) }[...])
            }
        }

        private init() {}

        private mutating func insert(_ path: ArraySlice<String>) {
            guard let first = path.first, !first.isEmpty else { return }
            // A whole branch named once stays whole, whatever longer path names a part of it.
            if let known = children[first], known.children.isEmpty { return }
            if path.count == 1 {
                children[first] = Node()
            } else {
                var child = children[first] ?? Node()
                child.insert(path.dropFirst())
                children[first] = child
            }
        }
    }

    private enum Mode: Sendable {
        case everything
        case only(Node)
        case except(Node)
    }

    private let mode: Mode

    init(fields: String?, excluding: String?) {
        if let fields, !fields.isEmpty {
            mode = .only(Node(fields))
        } else if let excluding, !excluding.isEmpty {
            mode = .except(Node(excluding))
        } else {
            mode = .everything
        }
    }

    /// The first steps of the wanted paths; none when everything is wanted.
    var roots: Set<String> {
        if case .only(let node) = mode { Set(node.children.keys) } else { [] }
    }

    /// Whether anything at this path can be in the answer; what is not wanted need not be built.
    func wants(_ path: String...) -> Bool {
        switch mode {
        case .everything: return true
        case .only(var node):
            for step in path {
                guard let child = node.children[step] else { return false }
                if child.children.isEmpty { return true }
                node = child
            }
            return true
        case .except(var node):
            for step in path {
                guard let child = node.children[step] else { return true }
                if child.children.isEmpty { return false }
                node = child
            }
            return true
        }
    }

    /// The answer with only the wanted fields.
    func apply(to value: JSON) -> JSON {
        switch mode {
        case .everything: value
        case .only(let node): Self.keep(node, of: value)
        case .except(let node): Self.drop(node, of: value)
        }
    }

    private static func keep(_ node: Node, of value: JSON) -> JSON {
        guard !node.children.isEmpty else { return value }
        switch value {
        case .array(let values): return .array(values.map { keep(node, of: $0) })
        case .object(let object):
            var kept = JSONObject()
            for pair in object.pairs {
                guard let child = node.children[pair.key] else { continue }
                kept.append(pair.key, keep(child, of: pair.value))
            }
            return .object(kept)
        default: return value
        }
    }

    private static func drop(_ node: Node, of value: JSON) -> JSON {
        switch value {
        case .array(let values): return .array(values.map { drop(node, of: $0) })
        case .object(let object):
            var kept = JSONObject()
            for pair in object.pairs {
                guard let child = node.children[pair.key] else {
                    kept.append(pair.key, pair.value)
                    continue
                }
                if !child.children.isEmpty { kept.append(pair.key, drop(child, of: pair.value)) }
            }
            return .object(kept)
        default: return value
        }
    }
}
