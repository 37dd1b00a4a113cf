//! One operation of the API, as the document tells it.
//!
//! A module lists its operations below its routes, with the types that its handlers read and write. What
//! follows from the kind of an operation (headers, refusals) is added here, so that nobody repeats it.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::api::reply::Page;
#[cfg(any(test, feature = "fuzzing"))]
use crate::http::{Problem, json, query};

/// What an operation does to the state, and so which headers it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Reads rows: says how fresh they must be.
    Read,
    /// Changes rows: can be named for retries.
    Write,
    /// Tells what this node knows by itself.
    Local,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Bearer,
    BearerOrBody,
    ClientKey,
    Operator,
    Open,
}

/// What a request says.
#[derive(Clone, Debug)]
struct Body {
    schema: Value,
    is_required: bool,
    example: Value,
}

/// What a request that is carried out is told.
#[derive(Clone, Debug)]
struct Success {
    status: u16,
    content: Option<(&'static str, Value)>,
    headers: &'static [&'static str],
}

/// Whether a body is read by the type that the handler reads, and by the one way to read bodies.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) type ReadsBody = fn(&[u8]) -> Result<(), Problem>;

/// The same of a query.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) type ReadsQuery = fn(Option<&str>) -> Result<(), Problem>;

/// An operation.
#[derive(Clone, Debug)]
pub(in crate::api) struct Operation {
    route: &'static str,
    id: &'static str,
    summary: &'static str,
    about: &'static str,
    kind: Kind,
    access: Access,
    is_guarded: bool,
    is_stamped: bool,
    query: Vec<Value>,
    body: Option<Body>,
    takes_bytes: bool,
    success: Success,
    refusals: BTreeSet<u16>,
    /// Refusals with a body of their own: status, what it says, schema.
    own_refusals: Vec<(u16, &'static str, Value)>,
    schemas: Vec<(String, Value)>,
    #[cfg(any(test, feature = "fuzzing"))]
    reads_body: Option<ReadsBody>,
    #[cfg(any(test, feature = "fuzzing"))]
    reads_query: Option<ReadsQuery>,
}

/// Operations that belong together.
#[derive(Clone, Debug)]
pub(in crate::api) struct Group {
    pub(in crate::api) tag: &'static str,
    pub(in crate::api) about: &'static str,
    pub(in crate::api) operations: Vec<Operation>,
}

const REVISION: &[&str] = &["Conclave-Revision"];
const TAGGED: &[&str] = &["Conclave-Revision", "ETag"];
const CREATED: &[&str] = &["Conclave-Revision", "ETag", "Location"];

impl Operation {
    /// An operation that reads. `route` is the name of its route, `id` what generated clients call it.
    pub(in crate::api) fn read(route: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Kind::Read, route, id, summary)
    }

    /// An operation that changes something.
    pub(in crate::api) fn write(route: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Kind::Write, route, id, summary)
    }

    /// An operation that tells of this node, to anybody.
    pub(in crate::api) fn local(route: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { access: Access::Open, ..Self::new(Kind::Local, route, id, summary) }
    }

    fn new(kind: Kind, route: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            route,
            id,
            summary,
            about: "",
            kind,
            access: Access::Bearer,
            is_guarded: false,
            is_stamped: kind != Kind::Local,
            query: Vec::new(),
            body: None,
            takes_bytes: false,
            success: Success { status: 204, content: None, headers: REVISION },
            refusals: BTreeSet::new(),
            own_refusals: Vec::new(),
            schemas: Vec::new(),
            #[cfg(any(test, feature = "fuzzing"))]
            reads_body: None,
            #[cfg(any(test, feature = "fuzzing"))]
            reads_query: None,
        }
    }

    /// More than the summary says.
    pub(in crate::api) fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// Takes no token.
    pub(in crate::api) fn open(mut self) -> Self {
        self.access = Access::Open;
        self
    }

    /// Takes a token in the header or in the body.
    pub(in crate::api) fn bearer_or_body(mut self) -> Self {
        self.access = Access::BearerOrBody;
        self
    }

    /// Takes the key that owns the account.
    pub(in crate::api) fn by_key(mut self) -> Self {
        self.access = Access::ClientKey;
        self
    }

    /// Takes the token of an operator.
    pub(in crate::api) fn operator(mut self) -> Self {
        self.access = Access::Operator;
        self
    }

    /// Heeds `If-Match`.
    pub(in crate::api) fn guarded(mut self) -> Self {
        self.is_guarded = true;
        self
    }

    /// Says at which revision it holds, as all that reads or changes rows does.
    pub(in crate::api) fn stamped(mut self) -> Self {
        self.is_stamped = true;
        self
    }

    /// Takes this query.
    pub(in crate::api) fn query<T: IntoParams + DeserializeOwned>(mut self) -> Self {
        self.query = T::into_params(|| None).iter().map(value).collect();
        #[cfg(any(test, feature = "fuzzing"))]
        {
            self.reads_query = Some(|text| query::parse::<T>(text).map(drop));
        }
        self
    }

    /// Takes this body.
    pub(in crate::api) fn takes<T: ToSchema + DeserializeOwned>(mut self, example: Value) -> Self {
        let schema = self.name::<T>();
        self.body = Some(Body { schema, is_required: true, example });
        #[cfg(any(test, feature = "fuzzing"))]
        {
            self.reads_body = Some(|body| json::parse::<T>(body).map(drop));
        }
        self
    }

    /// Takes this body or none.
    pub(in crate::api) fn may_take<T: ToSchema + DeserializeOwned>(self, example: Value) -> Self {
        let mut operation = self.takes::<T>(example);
        if let Some(body) = &mut operation.body {
            body.is_required = false;
        }
        operation
    }

    /// 200 with this body.
    pub(in crate::api) fn gives<T: ToSchema>(mut self) -> Self {
        let schema = self.name::<T>();
        self.gives_schema(schema)
    }

    /// 200 with either of two bodies; where the second is a part of the first, both fit.
    pub(in crate::api) fn gives_either<T: ToSchema, U: ToSchema>(mut self) -> Self {
        let schema = json!({"anyOf": [self.name::<T>(), self.name::<U>()]});
        self.gives_schema(schema)
    }

    /// 200 with a body that holds this one, as `wrap` makes of its reference.
    pub(in crate::api) fn gives_within<T: ToSchema>(mut self, wrap: fn(Value) -> Value) -> Self {
        let schema = self.name::<T>();
        self.gives_schema(wrap(schema))
    }

    /// 200 with a body of that schema, spelled out.
    pub(in crate::api) fn gives_schema(self, schema: Value) -> Self {
        self.succeeds(200, Some(("application/json", schema)), REVISION)
    }

    /// 200 with a body in another format than JSON.
    pub(in crate::api) fn gives_text(self, format: &'static str) -> Self {
        self.succeeds(200, Some((format, json!({"type": "string"}))), REVISION)
    }

    /// 200 with bytes, in parts.
    pub(in crate::api) fn gives_bytes(self) -> Self {
        let schema = json!({"type": "string", "format": "binary"});
        self.succeeds(200, Some(("application/octet-stream", schema)), REVISION)
    }

    /// Takes bytes, in parts.
    pub(in crate::api) fn takes_bytes(mut self) -> Self {
        self.takes_bytes = true;
        self
    }

    /// 200 with this body, and the tag of what it shows.
    pub(in crate::api) fn gives_tagged<T: ToSchema>(mut self) -> Self {
        let schema = self.name::<T>();
        self.succeeds(200, Some(("application/json", schema)), TAGGED)
    }

    /// 200 with a part of a list of these.
    pub(in crate::api) fn lists<T: ToSchema>(mut self) -> Self {
        self.include::<T>();
        let name = format!("{}Page", T::name());
        let reference = reference(&name);
        self.schemas.push((name, value(&Page::<T>::schema())));
        self.gives_schema(reference)
    }

    /// 200 with a list of texts, whole.
    pub(in crate::api) fn lists_names(self) -> Self {
        let items = json!({"type": "array", "items": {"type": "string"}});
        self.gives_schema(json!({"type": "object", "required": ["items"], "properties": {"items": items}}))
    }

    /// 201 with this body, its tag and its place.
    pub(in crate::api) fn creates<T: ToSchema>(mut self) -> Self {
        let schema = self.name::<T>();
        self.succeeds(201, Some(("application/json", schema)), CREATED)
    }

    /// 201 with this body and its tag, and no place.
    pub(in crate::api) fn gives_new<T: ToSchema>(mut self) -> Self {
        let schema = self.name::<T>();
        self.succeeds(201, Some(("application/json", schema)), TAGGED)
    }

    /// 201 with a body that has no place of its own.
    pub(in crate::api) fn makes(self, schema: Value) -> Self {
        self.succeeds(201, Some(("application/json", schema)), REVISION)
    }

    /// 201 with this body, which has no place of its own.
    pub(in crate::api) fn hands_out<T: ToSchema>(mut self) -> Self {
        let schema = self.name::<T>();
        self.makes(schema)
    }

    /// May be refused with these, beside what all operations of its kind are.
    pub(in crate::api) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }

    /// May be refused with this body instead of that of other refusals.
    pub(in crate::api) fn refuses_with<T: ToSchema>(mut self, status: u16, about: &'static str) -> Self {
        let schema = self.name::<T>();
        self.own_refusals.push((status, about, schema));
        self
    }

    fn succeeds(
        mut self,
        status: u16,
        content: Option<(&'static str, Value)>,
        headers: &'static [&'static str],
    ) -> Self {
        self.success = Success { status, content, headers };
        self
    }

    fn name<T: ToSchema>(&mut self) -> Value {
        self.include::<T>();
        reference(&T::name())
    }

    fn include<T: ToSchema>(&mut self) {
        let mut found = Vec::new();
        T::schemas(&mut found);
        found.push((T::name().into_owned(), T::schema()));
        self.schemas.extend(found.into_iter().map(|(name, schema)| (name, value(&schema))));
    }

    /// The method, in capitals, and the path.
    pub(super) fn method_and_path(&self) -> (&'static str, &'static str) {
        self.route.split_once(' ').unwrap_or(("GET", self.route))
    }

    /// The schemas that it refers to, with those that they refer to.
    pub(super) fn schemas(&self) -> &[(String, Value)] {
        &self.schemas
    }

    /// The refusals that a client must expect.
    pub(super) fn refusals(&self) -> BTreeSet<u16> {
        let mut all = self.refusals.clone();
        let (_, path) = self.method_and_path();
        match self.kind {
            Kind::Local => {}
            Kind::Read => all.extend([400, 410, 429, 503]),
            Kind::Write => all.extend([400, 422, 429, 503]),
        }
        match self.access {
            Access::Open => {}
            Access::Operator => all.extend([401]),
            Access::ClientKey => all.extend([400, 401]),
            Access::Bearer | Access::BearerOrBody => all.extend([401, 403]),
        }
        if self.body.is_some() {
            all.extend([400, 413, 415]);
        }
        if self.is_guarded {
            all.insert(412);
        }
        // What a client key names and is not there is no error.
        if path.contains('{') && self.access != Access::ClientKey {
            all.insert(404);
        }
        all
    }

    /// The operation as a member of a path item. `problem` gives the reference to a refusal.
    pub(super) fn to_value(&self, tag: &str, problem: impl Fn(u16) -> Value) -> Value {
        let mut responses = Map::new();
        responses.insert(self.success.status.to_string(), self.success());
        for status in self.refusals() {
            responses.insert(status.to_string(), problem(status));
        }
        for (status, about, schema) in &self.own_refusals {
            let content = json!({"application/json": {"schema": schema}});
            let response = json!({"description": about, "headers": {}, "content": content});
            responses.insert(status.to_string(), response);
        }
        let mut members = json!({
            "tags": [tag],
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters(),
            "responses": responses,
            "security": match self.access {
                Access::Bearer => json!([{"bearer": []}]),
                Access::BearerOrBody => json!([{"bearer": []}, {}]),
                Access::Operator => json!([{"operator": []}]),
                Access::ClientKey => json!([{"clientKey": []}]),
                Access::Open => json!([]),
            },
        });
        if let Some(members) = members.as_object_mut() {
            if !self.about.is_empty() {
                members.insert("description".to_owned(), self.about.into());
            }
            if let Some(body) = &self.body {
                let content = json!({"schema": body.schema, "example": body.example});
                let body = json!({"required": body.is_required, "content": {"application/json": content}});
                members.insert("requestBody".to_owned(), body);
            }
            if self.takes_bytes {
                let content = json!({"schema": {"type": "string", "format": "binary"}});
                let body = json!({"required": true, "content": {"application/octet-stream": content}});
                members.insert("requestBody".to_owned(), body);
            }
        }
        members
    }

    fn success(&self) -> Value {
        let headers: Map<String, Value> = self
            .success
            .headers
            .iter()
            .filter(|_| self.is_stamped)
            .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
            .collect();
        let description = match self.success.status {
            201 => "Made.",
            204 => "Done.",
            _ => "The answer.",
        };
        let mut response = json!({"description": description, "headers": headers});
        if let (Some(response), Some((format, schema))) = (response.as_object_mut(), &self.success.content) {
            response.insert("content".to_owned(), json!({*format: {"schema": schema}}));
        }
        response
    }

    fn parameters(&self) -> Vec<Value> {
        let (_, path) = self.method_and_path();
        let in_path = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let mut all: Vec<Value> = in_path.map(|name| super::parameters::in_path(path, name)).collect();
        all.extend(self.query.iter().cloned());
        let mut header = |name: &str| {
            all.push(json!({"$ref": format!("#/components/parameters/{name}")}));
        };
        match self.kind {
            Kind::Read => header("Conclave-Consistency"),
            Kind::Write => header("Idempotency-Key"),
            Kind::Local => {}
        }
        if self.is_guarded {
            header("If-Match");
        }
        all
    }

    /// The example of its body, where it has one, and whether the handler's type reads it.
    #[cfg(test)]
    pub(super) fn try_example(&self) -> Option<(Value, Result<(), Problem>)> {
        let (body, reads) = (self.body.as_ref()?, self.reads_body?);
        Some((body.example.clone(), reads(body.example.to_string().as_bytes())))
    }

    /// How its body and its query are read.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn reads(&self) -> (Option<ReadsBody>, Option<ReadsQuery>) {
        (self.reads_body, self.reads_query)
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// What the derives give is data that always encodes.
fn value(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}
