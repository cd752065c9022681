// The API's page: Swagger UI over our own description. Changes made from it carry the header that a session needs.
"use strict";

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    request.headers["X-Luma-Page"] = "docs";
    if (!request.body && request.method !== "GET") {
      request.headers["Content-Type"] = "application/json";
    }
    return request;
  },
});
