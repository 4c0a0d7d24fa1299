/// How to point at a member in the path of a call.
public enum MemberReference: Sendable, Hashable {
    /// By address, sent as its hash, so that no address stands in a path.
    case address(String)
    /// By the hash of its address.
    case hash(String)
    /// By the name that stays when the address changes.
    case contactID(String)

    var pathPart: String {
        switch self {
        case .address(let address): subscriberHash(address)
        case .hash(let hash): hash
        case .contactID(let id): id
        }
    }
}
